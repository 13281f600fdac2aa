# SPDX-License-Identifier: GPL-3.0-or-later
"""Where prepared images wait between iterations: nowhere, in memory or in a scratch file."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import List, Protocol, Union

import numpy as np

from cryoralib_plugin.io.atomic import DiskFullError
from cryoralib_plugin.io.scratch import ScratchStack

_BLOCK_BYTES = 1 << 26

logger = logging.getLogger(__name__)


class ImageCache(Protocol):
    """Prepared images by row of the particle table; it may refuse to take more."""

    def holds(self, rows: np.ndarray) -> np.ndarray:
        """Return for each row whether its image is here, (n,) bool."""

    def store(self, rows: np.ndarray, images: np.ndarray) -> None:
        """Keep images (n, N, N) float32, as many as there is room for."""

    def fetch(self, rows: np.ndarray) -> np.ndarray:
        """Return images (n, N, N) float32 that are all here; they must not be written to."""

    def close(self) -> None:
        """Give the room back."""


class NoCache:
    """Keeps nothing: images are read and prepared anew in every iteration."""

    def holds(self, rows: np.ndarray) -> np.ndarray:
        return np.zeros(len(rows), dtype=bool)

    def store(self, rows: np.ndarray, images: np.ndarray) -> None:
        del rows, images

    def fetch(self, rows: np.ndarray) -> np.ndarray:
        raise KeyError(f"no images are kept, so rows {rows} cannot be fetched")

    def close(self) -> None:
        pass


class MemoryCache:
    """Keeps images in memory up to a number of bytes; what does not fit is prepared each time."""

    def __init__(self, n_particles: int, box_size_px: int, max_bytes: int) -> None:
        image_bytes = 4 * box_size_px * box_size_px
        self._box = box_size_px
        self._capacity = min(n_particles, max(0, int(max_bytes)) // image_bytes)
        # Blocks grow with the images that come, so a rank pays for its own share only.
        self._per_block = max(1, _BLOCK_BYTES // image_bytes)
        self._blocks: List[np.ndarray] = []
        self._slot_of_row = np.full(n_particles, -1, np.int64)
        self._n_stored = 0
        self._lock = threading.Lock()
        self._was_full = False

    def holds(self, rows: np.ndarray) -> np.ndarray:
        return np.asarray(self._slot_of_row[rows] >= 0)

    def store(self, rows: np.ndarray, images: np.ndarray) -> None:
        with self._lock:
            is_new = self._slot_of_row[rows] < 0
            rows, images = rows[is_new], images[is_new]
            n_kept = min(len(rows), self._capacity - self._n_stored)
            if n_kept < len(rows) and not self._was_full:
                self._was_full = True
                logger.info(
                    "the image cache holds %d particles and is full; the others are read again in "
                    "every iteration (cache = disk avoids preparing them again)",
                    self._capacity,
                )
            slots = np.arange(self._n_stored, self._n_stored + n_kept)
            for block in np.unique(slots // self._per_block):
                if block == len(self._blocks):
                    n_images = min(self._per_block, self._capacity - block * self._per_block)
                    self._blocks.append(np.empty((n_images, self._box, self._box), np.float32))
                chosen = slots // self._per_block == block
                first = slots[chosen][0] % self._per_block
                self._blocks[block][first : first + chosen.sum()] = images[:n_kept][chosen]
            # Only now may another thread see these rows.
            self._slot_of_row[rows[:n_kept]] = slots
            self._n_stored += n_kept

    def fetch(self, rows: np.ndarray) -> np.ndarray:
        slots = self._slot_of_row[rows]
        blocks, places = np.divmod(slots, self._per_block)
        if len(rows) and blocks[0] == blocks[-1] and (np.diff(slots) == 1).all():
            view = self._blocks[blocks[0]][places[0] : places[-1] + 1]
            view.flags.writeable = False
            return np.asarray(view)
        images = np.empty((len(rows), self._box, self._box), np.float32)
        for block in np.unique(blocks):
            chosen = blocks == block
            images[chosen] = self._blocks[block][places[chosen]]
        return images

    def close(self) -> None:
        self._blocks.clear()
        self._slot_of_row[:] = -1
        self._n_stored = 0


class DiskCache:
    """Keeps images in a scratch file, one for each rank; a full disk only ends the keeping."""

    def __init__(self, n_particles: int, box_size_px: int, path: Union[str, Path]) -> None:
        self._stack = ScratchStack(path, box_size_px)
        self._box = box_size_px
        self._slot_of_row = np.full(n_particles, -1, np.int64)
        self._is_full = False

    def holds(self, rows: np.ndarray) -> np.ndarray:
        return np.asarray(self._slot_of_row[rows] >= 0)

    def store(self, rows: np.ndarray, images: np.ndarray) -> None:
        is_new = self._slot_of_row[rows] < 0
        if self._is_full or not is_new.any():
            return
        try:
            first = self._stack.append(images[is_new])
        except DiskFullError as error:
            self._is_full = True
            logger.warning("%s; the remaining images are read again in every iteration", error)
            return
        self._slot_of_row[rows[is_new]] = np.arange(first, first + is_new.sum())

    def fetch(self, rows: np.ndarray) -> np.ndarray:
        images = np.empty((len(rows), self._box, self._box), np.float32)
        self._stack.read(self._slot_of_row[rows], images)
        return images

    def close(self) -> None:
        self._stack.close()
        self._slot_of_row[:] = -1
