# SPDX-License-Identifier: GPL-3.0-or-later
"""A map from an MRC file as a cube of axes z, y, x."""

from __future__ import annotations

from pathlib import Path
from typing import Tuple, Union

import numpy as np

from .hdf5 import is_hdf5
from .mrc import read_mrc, read_mrc_header


def read_volume(path: Union[str, Path]) -> Tuple[np.ndarray, float]:
    """Return a map (N, N, N) float32 and its voxel size, Angstrom; 0 where the file is silent.

    The origin in the header is passed over: the centre of a map is its voxel N // 2.

    Raises
    ------
    FileNotFoundError, ValueError
        No such file; no MRC file; no cube; numbers that are not finite; the same everywhere.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"map {path} does not exist")
    if is_hdf5(path):
        raise ValueError(
            f"map {path} is an HDF5 file: convert it to MRC first, with e2proc3d.py of EMAN2"
        )
    header = read_mrc_header(path)
    sizes = (header.n_columns, header.n_rows, header.n_images)
    if len(set(sizes)) != 1:
        raise ValueError(
            f"a map must be a cube, but {path} has {sizes[0]} x {sizes[1]} x {sizes[2]} voxels: "
            "put it into a cubic box about its centre; if it is a stack of images, give a map"
        )
    volume, voxel_size_angst = read_mrc(path)
    columns, rows, sections = header.axes
    stored = (sections, rows, columns)
    volume = np.ascontiguousarray(volume.transpose([stored.index(axis) for axis in (3, 2, 1)]))
    if not np.isfinite(volume).all():
        n_wrong = int((~np.isfinite(volume)).sum())
        raise ValueError(f"{n_wrong} voxels of map {path} are not finite numbers: make it anew")
    if volume.min() == volume.max():
        raise ValueError(f"map {path} is {volume.flat[0]:g} in every voxel: it shows nothing")
    return volume, voxel_size_angst
