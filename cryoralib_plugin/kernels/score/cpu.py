# SPDX-License-Identifier: GPL-3.0-or-later
"""CPU twin of the scores: BLAS makes them, and they are summed while they are in the cache."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from cryoralib_plugin.fourier.band import FourierBand, phase_tables
from cryoralib_plugin.fourier.volume import FourierVolume
from cryoralib_plugin.kernels.project.cpu import grid_and_places, scratch_of, write_slice
from cryoralib_plugin.kernels.threads import in_threads

from . import WhitenedParticles, power_of, real_pairs, real_planes

if TYPE_CHECKING:
    from .scan import Scan

# A block of scores stays in the cache of one core until it has been summed.
_SCORES_PER_BLOCK = 2**18
_SLICES_PER_BLOCK = 256

# Particles a thread takes at a time: few, so that all threads end together.
_LARGEST_STEP, _STEPS = 16, 16

_FAST = {"contract", "nsz", "reassoc"}


def write_local_scores(
    scores: np.ndarray,
    volume: FourierVolume,
    particles: WhitenedParticles,
    rotations: np.ndarray,
    shift_px: np.ndarray,
    band: FourierBand,
) -> None:
    """See `local_scores` of the package."""
    n, n_rotations, n_shifts, n_defoci = scores.shape
    values, extent, kx, ky = grid_and_places(volume, band)
    step = max(1, min(_LARGEST_STEP, -(-n // _STEPS)))

    def score(first: int) -> None:
        slices = np.empty((n_rotations, 2 * band.n_terms), np.float32)
        filters = np.empty((n_shifts * n_defoci, band.n_terms), np.complex64)
        penalties = np.empty((n_rotations, n_defoci), np.float32)
        for i in range(first, min(first + step, n)):
            ctf = particles.ctf[i]
            _write_slices(values, extent, rotations[i], kx, ky, ctf * ctf, slices, penalties)
            _write_filters(
                particles.spectra[i],
                ctf,
                phase_tables(shift_px[i], band),
                band.kx,
                band.ky,
                filters,
            )
            products = slices @ real_pairs(filters).T
            scores[i] = products.reshape(n_rotations, n_shifts, n_defoci) - penalties[:, None]

    in_threads(score, range(0, n, step))


@njit(cache=True, nogil=True)
def _write_slices(values, extent, rotations, kx, ky, ctf_power, slices, penalties):
    """Write the slices of one particle and ``1/2 sum C^2 |S|^2`` of each defocus."""
    scratch = scratch_of(kx.shape[0])
    for r in range(rotations.shape[0]):
        row = slices[r]
        write_slice(values, extent, rotations[r], kx, ky, scratch, row)
        for d in range(ctf_power.shape[0]):
            penalties[r, d] = np.float32(0.5) * _weighted_power(row, ctf_power[d])


@njit(cache=True, nogil=True, fastmath=_FAST)
def _weighted_power(row, weight):
    total = np.float32(0.0)
    for k in range(weight.shape[0]):
        total += weight[k] * (row[2 * k] * row[2 * k] + row[2 * k + 1] * row[2 * k + 1])
    return total


@njit(cache=True, nogil=True)
def _write_filters(spectrum, ctf, tables, kx, ky, filters):
    """Write ``X C conj(phi)`` of one particle, shift by shift and defocus by defocus."""
    n_defoci, middle = ctf.shape[0], tables.shape[2] // 2
    for j in range(tables.shape[0]):
        for k in range(kx.shape[0]):
            phase = tables[j, 0, middle + kx[k]] * tables[j, 1, middle + ky[k]]
            moved = spectrum[k] * phase.conjugate()
            for d in range(n_defoci):
                filters[j * n_defoci + d, k] = moved * ctf[d, k]


def update(scan: Scan, slices: np.ndarray, first_slice: int) -> None:
    """See the package."""
    n, n_shifts, _, n_terms = scan.filters.shape
    power, planes = np.float32(0.5) * power_of(slices), real_planes(slices)
    width = min(_SLICES_PER_BLOCK, len(slices))
    step = max(1, _SCORES_PER_BLOCK // (2 * n_shifts * width))
    shift_weight = np.exp(scan.log_shift_weight)

    def take_in(start: int) -> None:
        rows = slice(start, min(start + step, n))
        count = rows.stop - rows.start
        filters = scan.filters[rows].reshape(-1, 2, n_terms)
        scores = np.empty((2, len(filters) * width), np.float32)
        penalties = np.empty(count * width, np.float32)
        for first in range(0, len(slices), width):
            block = slice(first, min(first + width, len(slices)))
            columns = block.stop - first
            both = scores[:, : len(filters) * columns].reshape(2, -1, columns)
            lost = penalties[: count * columns].reshape(-1, columns)
            for part in (0, 1):
                np.matmul(filters[:, part], planes[block, part].T, out=both[part])
            np.matmul(scan.ctf_power[rows], power[block].T, out=lost)
            _sum_and_difference(both[0].reshape(-1), both[1].reshape(-1))
            for turned in (0, 1):
                _take_in(
                    both[turned].reshape(count, n_shifts, columns),
                    lost,
                    shift_weight,
                    2 * (first_slice + first) + turned,
                    scan.offset[rows],
                    scan.shift_mass[rows],
                    scan.kept_log_mass[rows],
                    scan.kept_rotation[rows],
                    scan.kept_shift[rows],
                    scan.best_score[rows],
                    scan.best_rotation[rows],
                    scan.best_shift[rows],
                )
        _in_order(scan.kept_log_mass[rows], scan.kept_rotation[rows], scan.kept_shift[rows])

    in_threads(take_in, range(0, n, step))


@njit(cache=True, nogil=True)
def _sum_and_difference(one, other):
    """Replace two rows by their sum and their difference."""
    for i in range(one.shape[0]):
        total, rest = one[i] + other[i], one[i] - other[i]
        one[i], other[i] = total, rest


@njit(cache=True, nogil=True)
def _take_in(
    scores, penalties, shift_weight, first, offset, shift_mass, kept_log_mass, kept_rotation,
    kept_shift, best_score, best_rotation, best_shift,
):  # fmt: skip
    """Take in the scores of every second rotation, from the given one."""
    n_shifts, columns = scores.shape[1], scores.shape[2]
    peak, at = np.empty(columns, np.float32), np.empty(columns, np.int32)
    share, mass = np.empty(columns, np.float32), np.empty(columns, np.float32)
    term, bits = np.empty(columns, np.float32), np.empty(columns, np.int32)
    for p in range(scores.shape[0]):
        mass[:] = np.float32(0.0)
        _peaks(scores[p], peak, at)
        top = -np.inf
        for i in range(columns):
            log_likelihood = peak[i] - penalties[p, i]
            if log_likelihood > best_score[p]:
                best_score[p], best_rotation[p] = log_likelihood, first + 2 * i
                best_shift[p] = at[i]
            top = max(top, log_likelihood)
        if top > offset[p]:
            shift_mass[p] *= np.exp(offset[p] - top)
            offset[p] = top
        for i in range(columns):
            share[i] = np.exp(np.float64(peak[i] - penalties[p, i]) - offset[p])
        for j in range(n_shifts):
            _exponentials(scores[p, j], peak, term, bits)
            shift_mass[p, j] += shift_weight[j] * _weighted(term, share, mass, shift_weight[j])
        for i in range(columns):
            if mass[i] <= np.float32(0.0):
                continue
            here = np.float32(np.log(mass[i]) + peak[i] - penalties[p, i])
            if here > kept_log_mass[p, -1]:
                number = first + 2 * i
                _keep(kept_log_mass[p], kept_rotation[p], kept_shift[p], here, number, at[i])


@njit(cache=True, nogil=True)
def _keep(log_mass, rotation, shift, here, number, at):
    """Put a rotation in the place of the lightest kept one, which lies last.

    The arrays are a heap read from their end: entry ``last - i`` is not heavier than the entries
    ``last - 2 i - 1`` and ``last - 2 i - 2``. One that falls is such a heap.
    """
    last = len(log_mass) - 1
    i = 0
    while True:
        child = 2 * i + 1
        if child > last:
            break
        if child < last and log_mass[last - child - 1] < log_mass[last - child]:
            child += 1
        if here <= log_mass[last - child]:
            break
        log_mass[last - i] = log_mass[last - child]
        rotation[last - i], shift[last - i] = rotation[last - child], shift[last - child]
        i = child
    log_mass[last - i], rotation[last - i], shift[last - i] = here, number, at


@njit(cache=True, nogil=True)
def _in_order(log_mass, rotation, shift):
    """Let the masses of each particle fall."""
    for p in range(log_mass.shape[0]):
        order = np.argsort(-log_mass[p], kind="mergesort")
        log_mass[p] = log_mass[p][order]
        rotation[p] = rotation[p][order]
        shift[p] = shift[p][order]


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
