# SPDX-License-Identifier: GPL-3.0-or-later
"""Particle files of other programs that are not read: how they become RELION STAR files."""

from __future__ import annotations

from pathlib import Path
from typing import Union


def advice_on(path: Union[str, Path]) -> str:
    """What to do with a particle file that another program wrote; empty where it is read."""
    if Path(path).suffix.lower() != ".cs":
        return ""
    return (
        f"{path} is a cryoSPARC file, which is not read here: export it as RELION STAR first, with "
        f"csparc2star.py of pyem (csparc2star.py {Path(path).name} [passthrough.cs] "
        "particles.star), or take it into Scipion with its protocol 'import particles', from "
        "cryosparc (plugin scipion-em-cryosparc2)"
    )
