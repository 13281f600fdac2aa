# SPDX-License-Identifier: GPL-3.0-or-later
"""Particle images in batches: read, checked and prepared ahead of the one who aligns them."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Deque, Iterator, List, Optional, Protocol, Tuple

import numpy as np

from cryoralib_plugin.optics.ctf import CtfParameters

from .cache import ImageCache, NoCache
from .catalogue import StackCatalogue
from .preprocess import Preprocessor
from .quarantine import (
    CONSTANT,
    CONSTANT_BACKGROUND,
    NOT_FINITE,
    OVERFLOW,
    Quarantine,
    find_unusable,
)

# Raw images that are prepared together: few enough to stay near the processor.
_CHUNK_BYTES = 1 << 23
_WORKERS = 2
_BATCHES_AHEAD = 2

Batch = Tuple[np.ndarray, Any]


class ParticleImages(Protocol):
    """What programs know of a particle set's images, wherever these come from."""

    @property
    def n_particles(self) -> int:
        """How many rows the particle table has."""

    @property
    def box_size_px(self) -> int:
        """Side of a prepared image."""

    @property
    def pixel_size_angst(self) -> float:
        """Pixel size of a prepared image."""

    @property
    def quarantine(self) -> Quarantine:
        """Rows that were found to be unusable so far."""

    def batches(self, rows: np.ndarray, batch_size: int, device: Any = None) -> Iterator[Batch]:
        """Yield (rows, images), images (n, N, N) float32 on the device, unusable rows left out."""


class ImageSource:
    """Images of a stack catalogue, streamed: never more than a few batches are in memory.

    Threads read and prepare the next batches while the caller works on the present one. Rows
    whose images are unusable are left out, and listed in :attr:`quarantine`.
    """

    def __init__(
        self,
        catalogue: StackCatalogue,
        preprocessor: Preprocessor,
        *,
        ctf: Optional[CtfParameters] = None,
        cache: Optional[ImageCache] = None,
    ) -> None:
        if preprocessor.needs_ctf and (ctf is None or len(ctf) != len(catalogue)):
            raise ValueError("CTF correction needs the optics of every particle of the set")
        self._catalogue = catalogue
        self._preprocessor = preprocessor
        self._ctf = ctf
        self._cache: ImageCache = NoCache() if cache is None else cache
        self._chunk = max(1, _CHUNK_BYTES // (4 * catalogue.box_size_px**2))
        self.quarantine = Quarantine()

    @property
    def n_particles(self) -> int:
        """How many rows the particle table has."""
        return len(self._catalogue)

    @property
    def box_size_px(self) -> int:
        """Side of a prepared image."""
        return self._preprocessor.box_size_px

    @property
    def raw_box_size_px(self) -> int:
        """Side of an image on disk."""
        return self._catalogue.box_size_px

    @property
    def pixel_size_angst(self) -> float:
        """Pixel size of a prepared image."""
        return self._preprocessor.pixel_size_angst

    def batches(self, rows: np.ndarray, batch_size: int, device: Any = None) -> Iterator[Batch]:
        """Yield batches of prepared images in the order of the rows.

        Parameters
        ----------
        rows
            (m,) integers, rows of the particle table.
        batch_size
            Most images of a batch.
        device
            Has `to_device`; None leaves the images on the host.

        Yields
        ------
        rows, images
            (n,) int64 and (n, N, N) float32 on the device; not to be written to. Rows whose
            images are unusable are missing, so a batch may be smaller or empty ones left out.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, but is {batch_size}")
        rows = self.quarantine.without(np.asarray(rows, dtype=np.int64))
        waiting: Deque[Future] = deque()
        pool = ThreadPoolExecutor(_WORKERS, thread_name_prefix="images")
        try:
            for start in range(0, len(rows), batch_size):
                waiting.append(pool.submit(self._load, rows[start : start + batch_size]))
                if len(waiting) > _BATCHES_AHEAD:
                    yield from _deliver(waiting.popleft(), device)
            while waiting:
                yield from _deliver(waiting.popleft(), device)
        finally:
            for future in waiting:
                future.cancel()
            pool.shutdown()

    def close(self) -> None:
        """Give back what the cache holds."""
        self._cache.close()

    def _load(self, rows: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
        is_kept = self._cache.holds(rows)
        if is_kept.all():
            return rows, self._cache.fetch(rows)
        images = np.empty((len(rows), self.box_size_px, self.box_size_px), np.float32)
        is_usable = np.ones(len(rows), dtype=bool)
        images[is_kept] = self._cache.fetch(rows[is_kept]) if is_kept.any() else 0
        fresh = np.flatnonzero(~is_kept)
        for start in range(0, len(fresh), self._chunk):
            places = fresh[start : start + self._chunk]
            good, prepared = self._prepare(rows[places])
            images[places[good]] = prepared
            is_usable[places[~good]] = False
            self._cache.store(rows[places[good]], prepared)
        return (rows, images) if is_usable.all() else (rows[is_usable], images[is_usable])

    def _prepare(self, rows: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
        """Return which rows are usable, (n,) bool, and the prepared images of those."""
        raw = self._catalogue.read(rows)
        not_finite, constant = find_unusable(raw)
        self.quarantine.add(rows[not_finite], NOT_FINITE)
        self.quarantine.add(rows[constant], CONSTANT)
        good = ~(not_finite | constant)
        if not good.any():
            return good, np.empty((0, self.box_size_px, self.box_size_px), np.float32)
        ctf = None
        if self._ctf is not None and self._preprocessor.needs_ctf:
            ctf = self._ctf[rows[good]]
        prepared = self._preprocessor.prepare(raw if good.all() else raw[good], ctf)
        broken = ~np.isfinite(prepared).all(axis=(1, 2))
        if broken.any():
            reason = CONSTANT_BACKGROUND if np.isnan(prepared[broken]).all() else OVERFLOW
            self.quarantine.add(rows[good][broken], reason)
            good[np.flatnonzero(good)[broken]] = False
            prepared = prepared[~broken]
        return good, np.asarray(prepared, np.float32)


class ArraySource:
    """Images that are in memory already; nothing is done to them."""

    def __init__(self, images: np.ndarray, pixel_size_angst: float = 1.0) -> None:
        images = np.asarray(images, np.float32)
        if images.ndim != 3 or images.shape[1] != images.shape[2]:
            raise ValueError(f"images must be (n, N, N), but their shape is {images.shape}")
        self._images = images
        self.n_particles = len(images)
        self.box_size_px = images.shape[1]
        self.pixel_size_angst = float(pixel_size_angst)
        self.quarantine = Quarantine()

    def batches(self, rows: np.ndarray, batch_size: int, device: Any = None) -> Iterator[Batch]:
        """Yield (rows, images) as :meth:`ImageSource.batches` does."""
        rows = np.asarray(rows, dtype=np.int64)
        for start in range(0, len(rows), batch_size):
            part = rows[start : start + batch_size]
            yield part, _on(device, self._images[part])

    def close(self) -> None:
        """Do nothing; the array belongs to the caller."""


def _deliver(future: Future, device: Any) -> List[Batch]:
    rows, images = future.result()
    return [(rows, _on(device, images))] if len(rows) else []


def _on(device: Any, images: np.ndarray) -> Any:
    return images if device is None else device.to_device(images)
