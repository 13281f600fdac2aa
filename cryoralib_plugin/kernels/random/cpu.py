# SPDX-License-Identifier: GPL-3.0-or-later
"""Philox4x32-10 on the CPU; see the package."""

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange

_MULTIPLIER_0 = np.uint64(0xD2511F53)
_MULTIPLIER_1 = np.uint64(0xCD9E8D57)
_WEYL_0 = np.uint64(0x9E3779B9)
_WEYL_1 = np.uint64(0xBB67AE85)
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_TO_UNIT = 2.0**-32


def words(particle_ids: np.ndarray, key: np.ndarray, n_draws: int) -> np.ndarray:
    """See the package."""
    return _blocks(particle_ids.astype(np.uint64), key.astype(np.uint64), n_draws)[:, :n_draws]


def uniform(particle_ids: np.ndarray, key: np.ndarray, n_draws: int) -> np.ndarray:
    """See the package."""
    return (words(particle_ids, key, n_draws) + 0.5) * _TO_UNIT


def normal(particle_ids: np.ndarray, key: np.ndarray, n_draws: int) -> np.ndarray:
    """See the package."""
    drawn = _blocks(particle_ids.astype(np.uint64), key.astype(np.uint64), n_draws)
    return _box_muller(drawn)[:, :n_draws]


@njit(cache=True, inline="always")
def _philox(c0, c1, c2, c3, k0, k1):
    """Return the four words of one counter; all arguments are uint64 below 2^32."""
    for _ in range(10):
        product_0 = _MULTIPLIER_0 * c0
        product_1 = _MULTIPLIER_1 * c2
        c0 = (product_1 >> _HALF) ^ c1 ^ k0
        c2 = (product_0 >> _HALF) ^ c3 ^ k1
        c1 = product_1 & _LOW
        c3 = product_0 & _LOW
        k0 = (k0 + _WEYL_0) & _LOW
        k1 = (k1 + _WEYL_1) & _LOW
    return c0, c1, c2, c3


@njit(cache=True, parallel=True)
def _blocks(ids, key, n_draws):
    """Return (n, n_draws rounded up to a multiple of 4) uint32."""
    n_blocks = (n_draws + 3) // 4
    result = np.empty((ids.size, 4 * n_blocks), dtype=np.uint32)
    for i in prange(ids.size):
        for block in range(n_blocks):
            w0, w1, w2, w3 = _philox(
                np.uint64(block), ids[i] & _LOW, ids[i] >> _HALF, key[2], key[0], key[1]
            )
            result[i, 4 * block] = np.uint32(w0)
            result[i, 4 * block + 1] = np.uint32(w1)
            result[i, 4 * block + 2] = np.uint32(w2)
            result[i, 4 * block + 3] = np.uint32(w3)
    return result


@njit(cache=True, parallel=True)
def _box_muller(drawn):
    """Return standard normal draws of pairs of words, same shape, float64."""
    result = np.empty(drawn.shape, dtype=np.float64)
    for i in prange(drawn.shape[0]):
        for pair in range(drawn.shape[1] // 2):
            radius = math.sqrt(-2.0 * math.log((drawn[i, 2 * pair] + 0.5) * _TO_UNIT))
            angle = 2.0 * math.pi * ((drawn[i, 2 * pair + 1] + 0.5) * _TO_UNIT)
            result[i, 2 * pair] = radius * math.cos(angle)
            result[i, 2 * pair + 1] = radius * math.sin(angle)
    return result
