# SPDX-License-Identifier: GPL-3.0-or-later
"""The maps a 3D program begins with, read by the root for all ranks."""

from __future__ import annotations

from typing import Any

from .input_maps import read_map, read_mask, warn_of_symmetry
from .start import StartMaps


def read_start_maps(config: Any, source: Any, comm: Any) -> StartMaps:
    """Return initial map and mask, on every rank, in the box and the pixels of the particles.

    Parameters
    ----------
    config
        `Refine3DConfig`, or `ReconstructConfig`, which has no initial map.
    source
        Of the prepared images.
    comm
        The ranks of the run.
    """
    box, pixel_size = int(source.box_size_px), float(source.pixel_size_angst)
    reference = mask = None
    map_path = getattr(config.files, "reference_file", "")
    if comm.is_root and map_path:
        reference = read_map(map_path, box, pixel_size)
        wanted = config.reference
        warn_of_symmetry(reference, wanted.symmetry, pixel_size, wanted.initial_resolution_angst)
    if comm.is_root and config.files.mask_file:
        mask = read_mask(config.files.mask_file, box, pixel_size)
    return StartMaps(comm.broadcast(reference), comm.broadcast(mask))
