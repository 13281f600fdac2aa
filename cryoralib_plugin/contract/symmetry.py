# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of point groups, as RELION writes them."""

from __future__ import annotations

import re
from typing import Tuple

from cryoralib_plugin.contract._param import ConfigError

LARGEST_FOLD = 200

_HELP = (
    "C1, C2, ... (cyclic), D2, D3, ... (dihedral), T (tetrahedral), O (octahedral) or I, I1, I2, "
    "I3, I4 (icosahedral; I is I2)"
)


def parse_symmetry(name: str) -> Tuple[str, int]:
    """Return the family C, D, T, O or I and a number: the fold of C and D, the setting of I, or 0.

    Raises
    ------
    ConfigError
        If there is no such group, or none that a chiral molecule can have.
    """
    text = name.strip().upper()
    found = re.fullmatch(r"([CDTOI])(\d*)", text)
    if not found:
        mirrors = re.fullmatch(r"C(I|S|\d+[VH])|D\d+[VH]|S\d+|T[DH]|OH|I\d?H", text)
        why = (
            f"symmetry {name!r} contains mirrors, which no chiral molecule has"
            if mirrors
            else f"symmetry {name!r} is not known"
        )
        raise ConfigError(f"{why}: it must be one of {_HELP}")
    family, digits = found.groups()
    number = int(digits) if digits else 0
    allowed = {
        "C": 1 <= number <= LARGEST_FOLD,
        "D": 1 <= number <= LARGEST_FOLD,
        "T": not digits,
        "O": not digits,
        "I": not digits or 1 <= number <= 4,
    }
    if not allowed[family]:
        raise ConfigError(f"symmetry {name!r} is not known: it must be one of {_HELP}")
    return family, 2 if family == "I" and not digits else number


def order_of(name: str) -> int:
    """Return the number of rotations of a point group."""
    family, number = parse_symmetry(name)
    return {"C": number, "D": 2 * number, "T": 12, "O": 24, "I": 60}[family]
