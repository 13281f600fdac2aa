# SPDX-License-Identifier: GPL-3.0-or-later
"""CUDA twin of the class sums; see the package."""

from __future__ import annotations

from typing import Any

import numpy as np

from cryoralib_plugin.arrays import namespace_of
from cryoralib_plugin.kernels._compile import kernel

from . import CTF_UNIT, IMAGE_UNIT, LARGEST_PIXEL

_PACKAGE = "cryoralib_plugin.kernels.class_sums"
_THREADS = 128
_MEMBERS_PER_BLOCK = 32  # as in class_sums.cu


def add_images(
    sums: Any, images: Any, poses: np.ndarray, order: np.ndarray, slots: np.ndarray
) -> bool:
    """Add ``images[order]`` to the sums ``slots``; return whether all pixels were sound."""
    if not len(order):
        return True
    xp = namespace_of(images)
    box = images.shape[-1]
    unsound = xp.zeros(1, dtype=xp.int32)
    kernel(_PACKAGE, "class_sums", "add_images", exact=True)(
        _grid(box * box, len(order)),
        (_THREADS,),
        (
            xp.ascontiguousarray(images),
            xp.asarray(poses),
            xp.asarray(order, dtype=xp.int64),
            xp.asarray(slots, dtype=xp.int64),
            sums,
            unsound,
            np.int64(len(order)),
            np.int32(box),
            np.float64(1.0 / IMAGE_UNIT),
            np.float32(LARGEST_PIXEL),
        ),
    )
    return not bool(unsound[0])


def add_power(sums: Any, power: np.ndarray, slots: np.ndarray) -> None:
    """Add CTF^2 (n, N, N // 2 + 1) to the sums ``slots``."""
    xp = namespace_of(sums)
    n_values = power.shape[1] * power.shape[2]
    kernel(_PACKAGE, "class_sums", "add_values", exact=True)(
        _grid(n_values, len(slots)),
        (_THREADS,),
        (
            xp.ascontiguousarray(power),
            xp.asarray(slots, dtype=xp.int64),
            sums,
            np.int64(len(slots)),
            np.int64(n_values),
            np.float64(1.0 / CTF_UNIT),
        ),
    )


def _grid(n_values: int, n_members: int) -> tuple[int]:
    """Return the blocks that cover all tiles of values for all stretches of members."""
    return (-(-n_values // _THREADS) * -(-n_members // _MEMBERS_PER_BLOCK),)
