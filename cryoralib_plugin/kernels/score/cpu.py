# SPDX-License-Identifier: GPL-3.0-or-later
"""CPU twin of the scan: BLAS makes the scores, one pass in the cache turns them into sums."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import njit, prange

from . import power_of, real_pairs

if TYPE_CHECKING:
    from .scan import Scan

# A block of scores stays in the shared cache until it has been summed.
_SCORES_PER_BLOCK = 2**20
_ROTATIONS_PER_BLOCK = 512

_FAST = {"contract", "nsz", "reassoc"}


def update(scan: Scan, slices: np.ndarray, first_rotation: int, log_weight: np.ndarray) -> None:
    """See the package."""
    n, n_shifts, depth = scan.filters.shape
    power = power_of(slices)
    pairs = real_pairs(slices)
    for first in range(0, len(slices), _ROTATIONS_PER_BLOCK):
        block = slice(first, min(first + _ROTATIONS_PER_BLOCK, len(slices)))
        columns = block.stop - first
        step = max(1, _SCORES_PER_BLOCK // (n_shifts * columns))
        scores = np.empty((min(step, n) * n_shifts, columns), dtype=np.float32)
        for start in range(0, n, step):
            rows = slice(start, min(start + step, n))
            here = scores[: (rows.stop - start) * n_shifts]
            np.matmul(scan.filters[rows].reshape(-1, depth), pairs[block].T, out=here)
            penalties = scan.ctf_power[rows] @ power[block].T
            penalties *= np.float32(0.5)
            _take_in(
                here.reshape(-1, n_shifts, columns),
                penalties,
                log_weight[block],
                np.exp(scan.log_shift_weight),
                first_rotation + first,
                scan.offset[rows],
                scan.shift_mass[rows],
                scan.kept_log_mass[rows],
                scan.kept_rotation[rows],
                scan.kept_shift[rows],
                scan.best_score[rows],
                scan.best_rotation[rows],
                scan.best_shift[rows],
            )


@njit(cache=True, parallel=True)
def _take_in(
    scores, penalties, log_weight, shift_weight, first, offset, shift_mass, kept_log_mass,
    kept_rotation, kept_shift, best_score, best_rotation, best_shift,
):  # fmt: skip
    n_shifts, columns = scores.shape[1], scores.shape[2]
    for p in prange(scores.shape[0]):
        peak, at = np.empty(columns, np.float32), np.empty(columns, np.int32)
        share, mass = np.empty(columns, np.float32), np.zeros(columns, np.float32)
        term, bits = np.empty(columns, np.float32), np.empty(columns, np.int32)
        _peaks(scores[p], peak, at)
        top = -np.inf
        for i in range(columns):
            log_likelihood = peak[i] - penalties[p, i]
            if log_likelihood > best_score[p]:
                best_score[p], best_rotation[p] = log_likelihood, first + i
                best_shift[p] = at[i]
            top = max(top, np.float64(log_likelihood) + log_weight[i])
        if top > offset[p]:
            shift_mass[p] *= np.exp(offset[p] - top)
            offset[p] = top
        for i in range(columns):
            share[i] = np.exp(np.float64(peak[i] - penalties[p, i]) + log_weight[i] - offset[p])
        for j in range(n_shifts):
            _exponentials(scores[p, j], peak, term, bits)
            shift_mass[p, j] += shift_weight[j] * _weighted(term, share, mass, shift_weight[j])
        last = kept_log_mass.shape[1] - 1
        for i in range(columns):
            if mass[i] <= np.float32(0.0):
                continue
            here = np.float32(np.log(mass[i]) + peak[i] - penalties[p, i] + log_weight[i])
            if here > kept_log_mass[p, last]:
                place = last
                while place > 0 and here > kept_log_mass[p, place - 1]:
                    kept_log_mass[p, place] = kept_log_mass[p, place - 1]
                    kept_rotation[p, place] = kept_rotation[p, place - 1]
                    kept_shift[p, place] = kept_shift[p, place - 1]
                    place -= 1
                kept_log_mass[p, place] = here
                kept_rotation[p, place], kept_shift[p, place] = first + i, at[i]


@njit(cache=True, nogil=True)
def _peaks(scores, peak, at):
    """Find the largest score over the shifts for each rotation, and the first shift that has it."""
    for i in range(peak.shape[0]):
        peak[i], at[i] = scores[0, i], 0
    for j in range(1, scores.shape[0]):
        row = scores[j]
        for i in range(peak.shape[0]):
            higher = row[i] > peak[i]
            peak[i] = row[i] if higher else peak[i]
            at[i] = np.int32(j) if higher else at[i]


@njit(cache=True, nogil=True, fastmath=_FAST)
def _exponentials(row, peak, term, bits):
    """Write exp(row - peak), peak >= row, to 2e-7 of its value; 0 below e^-87.

    ``e^x = 2^n 2^f``, n whole, |f| <= 1/2: a polynomial and an exponent written bit by bit, which
    the compiler turns into vectors as it would not a call of exp.
    """
    for i in range(row.shape[0]):
        x = (row[i] - peak[i]) * np.float32(1.44269504)
        x = x if x > np.float32(-126.0) else np.float32(-126.0)
        whole = np.int32(x - np.float32(0.5))
        f = x - np.float32(whole)
        value = np.float32(1.5403530e-4)
        value = value * f + np.float32(1.3333558e-3)
        value = value * f + np.float32(9.6181291e-3)
        value = value * f + np.float32(5.5504109e-2)
        value = value * f + np.float32(2.4022651e-1)
        value = value * f + np.float32(6.9314718e-1)
        term[i] = value * f + np.float32(1.0)
        bits[i] = (whole + np.int32(127)) << np.int32(23)
    powers = bits.view(np.float32)
    for i in range(row.shape[0]):
        term[i] = term[i] * powers[i] if bits[i] > np.int32(8388608) else np.float32(0.0)


@njit(cache=True, nogil=True, fastmath=_FAST)
def _weighted(term, share, mass, weight):
    """Add one shift's terms to the masses; return their sum over the rotations, in float64."""
    total = np.float32(0.0)
    for i in range(term.shape[0]):
        mass[i] += weight * term[i]
        total += term[i] * share[i]
    return np.float64(total)
