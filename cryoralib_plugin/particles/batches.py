# SPDX-License-Identifier: GPL-3.0-or-later
"""Batches of particles that the device has room for."""

from __future__ import annotations

import logging
from typing import Any, Callable, Iterator, Tuple, TypeVar

import numpy as np

from cryoralib_plugin.kernels.device import OutOfMemory

logger = logging.getLogger(__name__)

Batch = TypeVar("Batch")


def fitting_batches(
    source: Any,
    rows: np.ndarray,
    batch_size: int,
    device: Any,
    prepare: Callable[[np.ndarray, Any], Batch],
) -> Iterator[Tuple[np.ndarray, Batch]]:
    """Yield particles in batches, halved for good when they do not fit; unusable ones are left out.

    Parameters
    ----------
    source : `ImageSource`.
    rows : (m,) int64, ascending, of the particle table.
    batch_size : to begin with.
    device : where the images go.
    prepare : makes a batch of its rows (n,) and its images (n, N, N) float32 on the device.

    Yields
    ------
    rows : (n,) int64.
    batch : what `prepare` made.
    """
    left = rows
    while len(left):
        try:
            for some, images in source.batches(left, batch_size, device):
                yield some, prepare(some, images)
                left = left[np.searchsorted(left, some[-1], side="right") :]
            return
        except OutOfMemory:
            if batch_size < 2:
                raise
            batch_size //= 2
            logger.info("the device has no room: going on with batches of %d", batch_size)
