# SPDX-License-Identifier: GPL-3.0-or-later
"""A scratch file of float32 images that are written once and read many times, in any order.

Plain reads and writes, no memory map: the pages stay in the system's cache while there is room,
and the address space of the process does not grow with the file.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Union

import numpy as np

from .atomic import report_full_disk


class ScratchStack:
    """Images (N, N) float32 in a file without a name: it vanishes however the process ends."""

    def __init__(self, path: Union[str, Path], box_size_px: int) -> None:
        self.path = Path(path)
        self._image_bytes = 4 * box_size_px * box_size_px
        self._n_images = 0
        self._lock = threading.Lock()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        self.path.unlink()

    def append(self, images: np.ndarray) -> int:
        """Write images (n, N, N) at the end; return the number of the first."""
        view = np.ascontiguousarray(images, np.float32).data.cast("B")
        with self._lock, report_full_disk(self.path):
            first, done = self._n_images, 0
            while done < len(view):
                done += os.pwrite(self._file, view[done:], first * self._image_bytes + done)
            self._n_images += len(images)
        return first

    def read(self, numbers: np.ndarray, out: np.ndarray) -> None:
        """Read images into `out` (n, N, N) float32; neighbours are read at once."""
        if len(numbers) == 0:
            return
        starts = np.flatnonzero(np.r_[True, np.diff(numbers) != 1])
        for start, stop in zip(starts, np.r_[starts[1:], len(numbers)]):
            view = out[start:stop].data.cast("B")
            offset, done = int(numbers[start]) * self._image_bytes, 0
            while done < len(view):
                got = os.preadv(self._file, [view[done:]], offset + done)
                if got == 0:
                    raise OSError(f"scratch file {self.path} became shorter while it was used")
                done += got

    def close(self) -> None:
        """Give the room on the disk back."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
