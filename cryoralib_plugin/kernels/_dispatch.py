# SPDX-License-Identifier: GPL-3.0-or-later
"""Choice of a kernel's twin, "cpu" or "cuda", by the array it is given."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import Any

from cryoralib_plugin.arrays import device_of


def twin_of(package: str, **arrays: Any) -> ModuleType:
    """Return the module ``cpu`` or ``cuda`` of a kernel folder, whichever holds the arrays.

    Parameters
    ----------
    package : dotted name of the kernel folder, that is its ``__name__``.
    **arrays : arrays by argument name; ``None`` is passed over.

    Raises
    ------
    TypeError
        If the arrays live on different devices; the message names each argument and its place.
    """
    return import_module(f"{package}.{device_of(**arrays)}")
