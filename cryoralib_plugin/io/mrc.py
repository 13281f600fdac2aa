# SPDX-License-Identifier: GPL-3.0-or-later
"""MRC headers and the images behind them, any rows of a stack without loading or mapping the rest.

Layout: MRC2014 (Cheng et al., J. Struct. Biol. 192, 146, 2015), header 1,024 bytes, then an
extended header of `nsymbt` bytes, then `nz` images of `ny` rows and `nx` columns. Real files often
lack the MAP word or the machine stamp; they are read, and what was odd is kept in `notes`.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Dict, List, Optional, Tuple, Union

import mrcfile.dtypes
import numpy as np

HEADER_BYTES = 1024
_READ_BYTES = 1 << 26
_HEADER_DTYPE = mrcfile.dtypes.HEADER_DTYPE
_MODES: Dict[int, str] = {0: "i1", 1: "i2", 2: "f4", 6: "u2", 12: "f2"}
_STAMPS = {(0x44, 0x44): "<", (0x44, 0x41): "<", (0x11, 0x11): ">"}
_LARGEST_SIDE = 1 << 20
_IMOD_STAMP = 1146047817

logger = logging.getLogger(__name__)
PathLike = Union[str, Path]


@dataclass(frozen=True)
class MrcHeader:
    """What is needed to read any image of a stack: sizes, number type, where the pixels begin.

    `axes` are the directions (1 x, 2 y, 3 z) that columns, rows and sections run along.
    """

    path: Path
    n_images: int
    n_rows: int
    n_columns: int
    dtype: np.dtype
    data_offset: int
    pixel_size_angst: float
    notes: Tuple[str, ...] = ()
    axes: Tuple[int, int, int] = (1, 2, 3)

    @property
    def image_bytes(self) -> int:
        """Bytes of one image on disk."""
        return self.n_rows * self.n_columns * self.dtype.itemsize


def read_mrc_header(path: PathLike) -> MrcHeader:
    """Return the header of an MRC file and check by arithmetic that all its images are there.

    Parameters
    ----------
    path
        An MRC or MRCS file of mode 0, 1, 2, 6 or 12, of either byte order.

    Returns
    -------
    MrcHeader
        `pixel_size_angst` is 0 where the header does not tell; `notes` says in words what the
        header lacks.

    Raises
    ------
    FileNotFoundError, ValueError
        No such file; not an MRC file; a mode that holds no real images; a truncated file.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"image stack {path} does not exist")
    with open(path, "rb") as file:
        raw = file.read(HEADER_BYTES)
        file_bytes = os.fstat(file.fileno()).st_size
    if len(raw) < HEADER_BYTES:
        raise ValueError(
            f"image stack {path} has {len(raw)} bytes, too few for an MRC header of {HEADER_BYTES}"
            ": the file is empty or truncated, copy it again"
        )
    header, byte_order, notes = _parse(path, raw)
    mode = int(header["mode"])
    if mode not in _MODES:
        raise ValueError(
            f"image stack {path} has MRC mode {mode}; particles must be of mode 0, 1, 2, 6 or 12 "
            "(real numbers): convert the file to mode 2"
        )
    result = MrcHeader(
        path=path,
        n_images=int(header["nz"]),
        n_rows=int(header["ny"]),
        n_columns=int(header["nx"]),
        dtype=_dtype(mode, raw, byte_order),
        data_offset=HEADER_BYTES + int(header["nsymbt"]),
        pixel_size_angst=_pixel_size(header),
        notes=tuple(notes),
        axes=_axes(header),
    )
    _check_length(result, file_bytes)
    return result


def _parse(path: Path, raw: bytes) -> Tuple[Any, str, List[str]]:
    notes = []
    orders = [order for order in "<>" if _is_plausible(_header(raw, order))]
    if not orders:
        raise ValueError(
            f"{path} is not an MRC file: its first {HEADER_BYTES} bytes are no MRC header in "
            "either byte order; supported are MRC, MRCS and EMAN2 HDF5 stacks"
        )
    stamped = _STAMPS.get((raw[212], raw[213]))
    if stamped is None:
        notes.append("no machine stamp, byte order taken from the sizes")
    elif stamped not in orders:
        notes.append("wrong machine stamp, byte order taken from the sizes")
    if not raw[208:212].startswith(b"MAP"):
        notes.append("no MAP word")
    byte_order = stamped if stamped in orders else orders[0]
    return _header(raw, byte_order), byte_order, notes


def _header(raw: bytes, byte_order: str) -> Any:
    return np.frombuffer(raw, dtype=_HEADER_DTYPE.newbyteorder(byte_order))[0]


def _is_plausible(header: Any) -> bool:
    sizes_fit = all(0 < int(header[name]) < _LARGEST_SIDE for name in ("nx", "ny"))
    return (
        sizes_fit
        and int(header["nz"]) > 0
        and 0 <= int(header["mode"]) <= 101
        and int(header["nsymbt"]) >= 0
    )


def _dtype(mode: int, raw: bytes, byte_order: str) -> np.dtype:
    if mode == 0:
        # IMOD writes mode 0 unsigned unless bit 0 of its flags says otherwise; MRC2014 says signed.
        stamp, flags = (int(word) for word in np.frombuffer(raw, byte_order + "i4", 2, offset=152))
        if stamp == _IMOD_STAMP and not flags & 1:
            return np.dtype("u1")
    return np.dtype(byte_order + _MODES[mode])


def _pixel_size(header: Any) -> float:
    columns, length = int(header["mx"]), float(header["cella"]["x"])
    if columns <= 0 or not np.isfinite(length) or length <= 0:
        return 0.0
    return length / columns


def _axes(header: Any) -> Tuple[int, int, int]:
    columns, rows, sections = (int(header[name]) for name in ("mapc", "mapr", "maps"))
    # Programs that do not know the fields leave them at 0.
    return (columns, rows, sections) if {columns, rows, sections} == {1, 2, 3} else (1, 2, 3)


def _check_length(header: MrcHeader, file_bytes: int) -> None:
    needed = header.data_offset + header.n_images * header.image_bytes
    if file_bytes < needed:
        whole = max(0, file_bytes - header.data_offset) // header.image_bytes
        raise ValueError(
            f"image stack {header.path} is truncated: its header announces {header.n_images} "
            f"images of {header.n_columns} x {header.n_rows} px, which need {needed:,} bytes, but "
            f"the file has {file_bytes:,} bytes ({whole} whole images): copy it again"
        )


def read_mrc_images(header: MrcHeader, indices: np.ndarray, out: np.ndarray) -> None:
    """Read images of a stack into `out`; runs of neighbours are read at once.

    Parameters
    ----------
    header
        From :func:`read_mrc_header`.
    indices
        (n,) integers, images counted from 0, in any order.
    out
        (n, rows, columns) float32, C-contiguous; overwritten.
    """
    indices = np.asarray(indices, dtype=np.int64)
    if indices.size == 0:
        return
    starts = np.flatnonzero(np.r_[True, np.diff(indices) != 1])
    stops = np.r_[starts[1:], indices.size]
    longest = max(1, _READ_BYTES // header.image_bytes)
    with open(header.path, "rb", buffering=0) as file:
        for start, stop in zip(starts, stops):
            file.seek(header.data_offset + int(indices[start]) * header.image_bytes)
            for first in range(start, stop, longest):
                _read_run(file, header, out[first : min(first + longest, stop)])


def _read_run(file: BinaryIO, header: MrcHeader, out: np.ndarray) -> None:
    is_native = header.dtype == np.dtype(np.float32)
    raw = out if is_native else np.empty(out.shape, header.dtype)
    view = raw.data.cast("B")
    done = 0
    while done < len(view):
        got = file.readinto(view[done:])  # type: ignore[attr-defined]
        if not got:
            raise OSError(f"image stack {header.path} ended while it was read: has it changed?")
        done += got
    if not is_native:
        out[...] = raw


class MrcStackWriter:
    """Writes an MRC stack image by image (mode 2), so that a stack larger than memory can be made.

    Use it as a context; the header is completed when the block ends.
    """

    def __init__(self, path: PathLike, *, pixel_size_angst: float, is_volume: bool = False) -> None:
        self._file = open(path, "wb")  # noqa: SIM115 (closed by __exit__)
        self._pixel_size_angst = float(pixel_size_angst)
        self._is_volume = is_volume
        self._shape: Optional[Tuple[int, int]] = None
        self._n_images = 0
        self._least, self._greatest = np.inf, -np.inf
        self._sum = self._sum_of_squares = 0.0
        self._file.write(bytes(HEADER_BYTES))

    def append(self, images: np.ndarray) -> None:
        """Append images (n, rows, columns) or one image (rows, columns)."""
        images = np.asarray(images, dtype="<f4")
        if images.ndim == 2:
            images = images[np.newaxis]
        if images.ndim != 3 or (self._shape and images.shape[1:] != self._shape):
            raise ValueError(
                "images appended to a stack must have one shape, "
                f"{self._shape or '(rows, columns)'}, but are {images.shape}"
            )
        self._shape = (images.shape[1], images.shape[2])
        if images.size:
            self._file.write(np.ascontiguousarray(images).data)
            self._n_images += len(images)
            self._least = min(self._least, float(images.min()))
            self._greatest = max(self._greatest, float(images.max()))
            self._sum += float(images.sum(dtype=np.float64))
            self._sum_of_squares += float(np.square(images, dtype=np.float64).sum())

    def __enter__(self) -> MrcStackWriter:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            if kind is None:
                if self._shape is None or self._n_images == 0:
                    raise ValueError("a stack must hold at least one image, but none was appended")
                self._file.seek(0)
                self._file.write(self._make_header(self._shape).tobytes())
        finally:
            self._file.close()

    def _make_header(self, shape: Tuple[int, int]) -> np.ndarray:
        rows, columns = shape
        n_pixels = self._n_images * rows * columns
        mean = self._sum / n_pixels
        header = np.zeros((), _HEADER_DTYPE.newbyteorder("<"))
        header["nx"], header["ny"], header["nz"] = columns, rows, self._n_images
        header["mode"] = 2
        header["mx"], header["my"] = columns, rows
        # MRC2014: mz is 1 for a stack of images and the number of sections for a volume.
        header["mz"] = self._n_images if self._is_volume else 1
        header["ispg"] = 1 if self._is_volume else 0
        for axis, size in zip("xyz", (columns, rows, int(header["mz"]))):
            header["cella"][axis] = size * self._pixel_size_angst
        for angle in ("alpha", "beta", "gamma"):
            header["cellb"][angle] = 90.0
        header["mapc"], header["mapr"], header["maps"] = 1, 2, 3
        header["dmin"], header["dmax"], header["dmean"] = self._least, self._greatest, mean
        header["rms"] = np.sqrt(max(0.0, self._sum_of_squares / n_pixels - mean * mean))
        header["nversion"] = 20141
        header["map"] = b"MAP "
        header["machst"] = (0x44, 0x44, 0, 0)
        return header


def write_stack(path: PathLike, images: np.ndarray, *, pixel_size_angst: float) -> None:
    """Write images (n, rows, columns) as an MRC stack of mode 2 with its pixel size."""
    with MrcStackWriter(path, pixel_size_angst=pixel_size_angst) as writer:
        # Each image is copied and squared in double precision: a whole stack would be large.
        for image in images:
            writer.append(image)


def write_volume(path: PathLike, volume: np.ndarray, *, pixel_size_angst: float) -> None:
    """Write a volume (z, y, x) as an MRC map of mode 2 with its voxel size."""
    with MrcStackWriter(path, pixel_size_angst=pixel_size_angst, is_volume=True) as writer:
        writer.append(volume)


def read_mrc(path: PathLike) -> Tuple[np.ndarray, float]:
    """Return all images or sections of an MRC file, (n, rows, columns) float32, and the pixel size.

    For small files: class averages, references, maps. What the header lacks is logged.
    """
    header = read_mrc_header(path)
    if header.notes:
        logger.warning("%s: %s", header.path, "; ".join(header.notes))
    images = np.empty((header.n_images, header.n_rows, header.n_columns), np.float32)
    read_mrc_images(header, np.arange(header.n_images), images)
    return images, header.pixel_size_angst
