# SPDX-License-Identifier: GPL-3.0-or-later
"""Philox4x32-10 on a CUDA device; see the package."""

from __future__ import annotations

from typing import Any

import numpy as np

from cryoralib_plugin.arrays import namespace_of
from cryoralib_plugin.kernels._compile import blocks_for, kernel

_THREADS = 256
_TO_UNIT = 2.0**-32


def words(particle_ids: Any, key: np.ndarray, n_draws: int) -> Any:
    """See the package."""
    xp = namespace_of(particle_ids)
    n = particle_ids.shape[0]
    drawn = xp.empty((n, n_draws), dtype=xp.uint32)
    if drawn.size == 0:
        return drawn
    kernel("cryoralib_plugin.kernels.random", "random", "random_words", exact=True)(
        blocks_for(n * -(-n_draws // 4), _THREADS),
        (_THREADS,),
        (
            xp.ascontiguousarray(particle_ids, dtype=xp.int64),
            drawn,
            np.int64(n),
            np.int64(n_draws),
            *key,
        ),
    )
    return drawn


def uniform(particle_ids: Any, key: np.ndarray, n_draws: int) -> Any:
    """See the package."""
    return (words(particle_ids, key, n_draws) + 0.5) * _TO_UNIT


def normal(particle_ids: Any, key: np.ndarray, n_draws: int) -> Any:
    """See the package."""
    xp = namespace_of(particle_ids)
    drawn = uniform(particle_ids, key, n_draws + n_draws % 2)
    radius = xp.sqrt(-2.0 * xp.log(drawn[:, 0::2]))
    angle = 2.0 * np.pi * drawn[:, 1::2]
    pairs = xp.stack([radius * xp.cos(angle), radius * xp.sin(angle)], axis=-1)
    return pairs.reshape(drawn.shape)[:, :n_draws]
