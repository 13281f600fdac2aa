# SPDX-License-Identifier: GPL-3.0-or-later
"""EMAN2's HDF5 stacks: image i is the dataset /MDF/images/i/image, its header attributes of i.

Compressed stacks (EMAN2 since 2.9) hold integers of b bits that stand for
min + (max - min) * integer / (2^b - 1); min, max and b are attributes of the image.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Tuple, Union

import h5py
import numpy as np

_IMAGES = "MDF/images"


@dataclass(frozen=True)
class Hdf5Header:
    """Sizes of an EMAN2 stack; the names of its images may have gaps, so they are kept."""

    path: Path
    n_images: int
    n_rows: int
    n_columns: int
    pixel_size_angst: float
    keys: Tuple[int, ...]
    notes: Tuple[str, ...] = ()


def is_hdf5(path: Union[str, Path]) -> bool:
    """Tell from its first bytes whether a file is HDF5."""
    with open(path, "rb") as file:
        return file.read(8) == b"\x89HDF\r\n\x1a\n"


def read_hdf5_header(path: Union[str, Path]) -> Hdf5Header:
    """Return the sizes of an EMAN2 HDF5 stack, taken from its first image.

    Raises
    ------
    FileNotFoundError, ValueError
        No such file; truncated; not EMAN2's layout; volumes instead of images; no images.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"image stack {path} does not exist")
    with _open(path) as file:
        if _IMAGES not in file:
            raise ValueError(
                f"{path} is HDF5 but not an EMAN2 stack: it must hold images under /{_IMAGES}"
            )
        group = file[_IMAGES]
        # Looking into every group would take minutes for a million images.
        keys = tuple(sorted(int(key) for key in group if key.isdigit()))
        first = next((group[str(key)] for key in keys if "image" in group[str(key)]), None)
        if first is None:
            raise ValueError(f"image stack {path} holds no images")
        shape = first["image"].shape
        if len(shape) == 3 and shape[0] == 1:
            shape = shape[1:]
        if len(shape) != 2:
            raise ValueError(
                f"image stack {path} must hold images of two dimensions, but its first has shape "
                f"{shape}: volumes are not particles"
            )
        pixel_size = _number(first.attrs, "EMAN.apix_x", 0.0)
    return Hdf5Header(path, len(keys), shape[0], shape[1], max(pixel_size, 0.0), keys)


def read_hdf5_images(header: Hdf5Header, indices: np.ndarray, out: np.ndarray) -> None:
    """Read images, counted from 0 in the order of their names, into `out` (n, rows, columns).

    An image whose pixels EMAN2 has erased comes back as NaN.
    """
    with _open(header.path) as file:
        group = file[_IMAGES]
        for row, index in enumerate(np.asarray(indices, dtype=np.int64)):
            item = group[str(header.keys[int(index)])]
            if "image" not in item:
                out[row] = np.nan
                continue
            pixels = np.asarray(item["image"], dtype=np.float32).reshape(item["image"].shape[-2:])
            if pixels.shape != out.shape[1:]:
                raise ValueError(
                    f"image {index + 1} of stack {header.path} has {pixels.shape[1]} x "
                    f"{pixels.shape[0]} px, but the first has {out.shape[2]} x {out.shape[1]} px: "
                    "all particles must have one box size"
                )
            out[row] = _decompressed(pixels, item.attrs)


def _decompressed(pixels: np.ndarray, attributes: h5py.AttributeManager) -> np.ndarray:
    bits = int(_number(attributes, "EMAN.stored_renderbits", 0))
    if bits <= 0:
        return pixels
    low = _number(attributes, "EMAN.stored_rendermin", 0.0)
    high = _number(attributes, "EMAN.stored_rendermax", 0.0)
    if high == low:
        return pixels
    return pixels * np.float32((high - low) / ((1 << bits) - 1)) + np.float32(low)


def _number(attributes: h5py.AttributeManager, name: str, default: float) -> float:
    return float(np.ravel(attributes[name])[0]) if name in attributes else default


def _open(path: Path) -> h5py.File:
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise ValueError(
            f"image stack {path} cannot be read as HDF5 ({error}): it is truncated or no HDF5 file"
        ) from error
