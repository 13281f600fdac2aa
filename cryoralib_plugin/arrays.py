# SPDX-License-Identifier: GPL-3.0-or-later
"""Where an array lives, asked of the array itself: no CuPy is imported to find out."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import numpy as np


def _lives_on_device(array: Any) -> bool:
    return hasattr(array, "__cuda_array_interface__")


def namespace_of(*arrays: Any) -> ModuleType:
    """Return the array module (numpy or cupy) that the arrays belong to.

    Raises
    ------
    TypeError
        If some arrays live on the host and others on a CUDA device.
    """
    where = {_lives_on_device(array) for array in arrays}
    if len(where) > 1:
        raise TypeError("arrays live on different devices: bring all of them to one device first")
    if where == {True}:
        # Whoever made a device array has imported CuPy already.
        return sys.modules["cupy"]
    return np


def device_of(**arrays: Any) -> str:
    """Return "cpu" or "cuda" for named arrays; ``None`` values are passed over.

    Raises
    ------
    TypeError
        If the arrays live on different devices; the message names each argument and its place.
    """
    places = {
        name: "cuda" if _lives_on_device(array) else "cpu"
        for name, array in arrays.items()
        if array is not None
    }
    if len(set(places.values())) > 1:
        listing = ", ".join(f"{name} on {place}" for name, place in places.items())
        raise TypeError(f"all arrays must live on one device, but found {listing}")
    return next(iter(places.values()), "cpu")
