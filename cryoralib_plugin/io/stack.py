# SPDX-License-Identifier: GPL-3.0-or-later
"""An image stack of any supported format: its sizes, and any of its images."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Tuple, Union

import numpy as np

from .hdf5 import Hdf5Header, is_hdf5, read_hdf5_header, read_hdf5_images
from .mrc import MrcHeader, read_mrc_header, read_mrc_images

StackHeader = Union[MrcHeader, Hdf5Header]
STACK_SUFFIXES = (".mrcs", ".mrc", ".map", ".st", ".hdf", ".hdf5", ".h5")

logger = logging.getLogger(__name__)


def read_stack_header(path: Union[str, Path]) -> StackHeader:
    """Return the header of an MRC, MRCS or EMAN2 HDF5 stack; the content decides, not the name."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"image stack {path} does not exist")
    return read_hdf5_header(path) if is_hdf5(path) else read_mrc_header(path)


def read_stack_images(header: StackHeader, indices: np.ndarray, out: np.ndarray) -> None:
    """Read images, counted from 0, into `out` (n, rows, columns) float32."""
    if isinstance(header, Hdf5Header):
        read_hdf5_images(header, indices, out)
    else:
        read_mrc_images(header, indices, out)


def read_stack(path: Union[str, Path]) -> Tuple[np.ndarray, float]:
    """Return all images (n, rows, columns) float32 of a small stack and its pixel size in angst.

    The pixel size is 0 where the file does not tell. What a header lacks is logged.
    """
    header = read_stack_header(path)
    if header.notes:
        logger.warning("%s: %s", header.path, "; ".join(header.notes))
    images = np.empty((header.n_images, header.n_rows, header.n_columns), np.float32)
    read_stack_images(header, np.arange(header.n_images), images)
    return images, header.pixel_size_angst
