# SPDX-License-Identifier: GPL-3.0-or-later
"""Maps of Scipion as files the engine reads, and what can be wrong with them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, List

from pwem.convert.headers import setMRCSamplingRate
from pwem.emlib.image import ImageHandler

from .images import path_of_stack

_ABOUT = 1e-3
"""Relative difference of pixel sizes that is none."""


def write_map(volume: Any, target: Path) -> None:
    """Write a Volume or VolumeMask of any format as MRC with the pixel size that Scipion knows.

    Headers of map files often hold another pixel size, or none. 1 Angstrom is what the engine takes
    for none, so it is written as 1.0001.
    """
    ImageHandler().convert(volume, str(target))
    rate = volume.getSamplingRate()
    setMRCSamplingRate(str(target), 1.0001 if rate == 1.0 else rate)


def map_problems(volume: Any, name: str) -> List[str]:
    """Sentences on a map that cannot be used; `name` says what it is in the form."""
    path = path_of_stack(volume.getFileName() or "")
    if not os.path.exists(path):
        return [f"The file {path} of the {name} does not exist: it was moved, or its disk is away."]
    found = []
    size = volume.getDim()
    if len(set(size)) != 1:
        found.append(
            f"The {name} must be a cube, not {' x '.join(map(str, size))} voxels: put it into a "
            "cubic box about its centre."
        )
    if not volume.getSamplingRate():
        found.append(f"The {name} has no pixel size: set it with 'assign Orig & Sampling'.")
    return found


def resampling_note(volume: Any, name: str, box_px: int, pixel_size_angst: float) -> List[str]:
    """A sentence where a map has another box or pixel size than the particles it is used with."""
    own_box, own_pixel = volume.getDim()[0], volume.getSamplingRate()
    if own_box == box_px and abs(own_pixel - pixel_size_angst) <= _ABOUT * pixel_size_angst:
        return []
    return [
        f"The {name} has {own_box} px of {own_pixel:g} Å, but the particles have {box_px} px of "
        f"{pixel_size_angst:g} Å: it is resampled about its centre."
    ]


def mask_range_problems(mask: Any) -> List[str]:
    """A sentence where the values of a mask are not between 0 and 1."""
    image = ImageHandler().read(mask)
    _, _, lowest, highest = image.computeStats()
    if lowest < -_ABOUT or highest > 1 + _ABOUT:
        return [
            f"The mask must lie between 0 and 1, but its values go from {lowest:g} to "
            f"{highest:g}: binarise it, or choose a mask rather than a map."
        ]
    if highest < 0.5:
        return [f"The mask is {highest:g} at most: nothing of the map is left inside it."]
    return []
