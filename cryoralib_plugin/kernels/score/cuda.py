# SPDX-License-Identifier: GPL-3.0-or-later
"""CUDA twin of the scores: cuBLAS makes them, two passes turn those of a scan into sums."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cryoralib_plugin.arrays import namespace_of
from cryoralib_plugin.fourier.band import FourierBand
from cryoralib_plugin.fourier.volume import FourierVolume
from cryoralib_plugin.kernels._compile import blocks_for, kernel
from cryoralib_plugin.kernels.project import project

from . import WhitenedParticles, matched_filters, power_of, real_pairs, real_planes

if TYPE_CHECKING:
    from .scan import Scan

_PACKAGE = "cryoralib_plugin.kernels.score"
_THREADS = 128
# Slices and shifted particles of one step of the local scores together.
_LOCAL_BYTES = 2**31
# 256 MiB of scores: large products, little memory.
_SCORES_PER_BLOCK = 2**26
_ROTATIONS_PER_BLOCK = 1024


def write_local_scores(
    scores: Any,
    volume: FourierVolume,
    particles: WhitenedParticles,
    rotations: Any,
    shift_px: Any,
    band: FourierBand,
) -> None:
    """See `local_scores` of the package."""
    xp = namespace_of(scores)
    n, n_rotations, n_shifts, n_defoci = scores.shape
    each = 8 * max(1, band.n_terms) * (2 * n_rotations + n_shifts * n_defoci)
    step = max(1, _LOCAL_BYTES // each)
    for first in range(0, n, step):
        rows = slice(first, first + step)
        here = particles[rows]
        count = here.spectra.shape[0]
        slices = project(volume, rotations[rows].reshape(-1, 3, 3), band)
        slices = slices.reshape(count, n_rotations, band.n_terms)
        filters = real_pairs(matched_filters(here, shift_px[rows], band))
        products = xp.matmul(
            real_pairs(slices), filters.reshape(count, -1, 2 * band.n_terms).swapaxes(1, 2)
        ).reshape(count, n_rotations, n_shifts, n_defoci)
        penalties = xp.matmul(power_of(slices), (here.ctf * here.ctf).swapaxes(1, 2))
        scores[rows] = products - 0.5 * penalties[:, :, None, :]


def update(scan: Scan, slices: Any, first_slice: int) -> None:
    """See the package.

    Here both rotations of a slice are multiplied out: on a device products cost less than another
    pass over the scores.
    """
    xp = namespace_of(slices)
    n, n_shifts = scan.filters.shape[:2]
    both = xp.stack([slices, slices.conj()], axis=1).reshape(-1, slices.shape[1])
    power, planes = power_of(both), real_planes(both).reshape(len(both), -1)
    for first in range(0, len(both), _ROTATIONS_PER_BLOCK):
        block = slice(first, min(first + _ROTATIONS_PER_BLOCK, len(both)))
        step = max(1, _SCORES_PER_BLOCK // (n_shifts * (block.stop - first)))
        for start in range(0, n, step):
            rows = slice(start, min(start + step, n))
            _update_block(scan, rows, planes[block], power[block], 2 * first_slice + first)


def _update_block(scan: Scan, rows: slice, planes: Any, power: Any, first: int) -> None:
    """Take in one block of scores."""
    xp = namespace_of(planes)
    n, n_shifts, columns = rows.stop - rows.start, scan.filters.shape[1], planes.shape[0]
    scores = xp.matmul(scan.filters[rows].reshape(n * n_shifts, -1), planes.swapaxes(0, 1))
    scores = xp.ascontiguousarray(scores, dtype=xp.float32)
    penalties = xp.ascontiguousarray(0.5 * xp.matmul(scan.ctf_power[rows], power.swapaxes(0, 1)))
    log_mass = xp.empty((n, columns), dtype=xp.float32)
    likelihood, shift = xp.empty_like(log_mass), xp.empty((n, columns), dtype=xp.int32)
    shift_weight = xp.exp(scan.log_shift_weight)
    shared = (scores, penalties, shift_weight)
    sizes = (np.int64(n), np.int32(n_shifts), np.int32(columns))
    kernel(_PACKAGE, "score", "rotation_masses")(
        blocks_for(n * columns, _THREADS),
        (_THREADS,),
        (*shared, log_mass, likelihood, shift, *sizes),
    )
    _raise_offset(scan, rows, likelihood.max(axis=1))
    shift_mass = scan.shift_mass[rows]
    kernel(_PACKAGE, "score", "shift_masses")(
        blocks_for(32 * n * n_shifts, _THREADS),
        (_THREADS,),
        (*shared, xp.ascontiguousarray(scan.offset[rows]), shift_mass, *sizes),
    )
    _keep_heaviest(scan, rows, log_mass, shift, first)
    _keep_best(scan, rows, likelihood, shift, first)


def _raise_offset(scan: Scan, rows: slice, top: Any) -> None:
    xp = namespace_of(top)
    old = scan.offset[rows]
    new = xp.maximum(old, top.astype(xp.float64))
    scan.shift_mass[rows] *= xp.exp(old - new)[:, None]
    scan.offset[rows] = new


def _keep_heaviest(scan: Scan, rows: slice, log_mass: Any, shift: Any, first: int) -> None:
    """Merge a block's rotations into the heaviest ones; of equals the earlier stays ahead."""
    xp = namespace_of(log_mass)
    numbers = xp.tile(xp.arange(first, first + log_mass.shape[1], dtype=xp.int64), (len(shift), 1))
    mass = xp.concatenate([scan.kept_log_mass[rows], log_mass], axis=1)
    rotation = xp.concatenate([scan.kept_rotation[rows], numbers], axis=1)
    shifts = xp.concatenate([scan.kept_shift[rows], shift], axis=1)
    # CuPy's sort is stable, and ascending: so the negative is sorted.
    order = xp.argsort(-mass, axis=1)[:, : scan.kept_rotation.shape[1]]
    places = order + mass.shape[1] * xp.arange(mass.shape[0])[:, None]
    scan.kept_log_mass[rows] = xp.take(mass.reshape(-1), places)
    scan.kept_rotation[rows] = xp.take(rotation.reshape(-1), places)
    scan.kept_shift[rows] = xp.take(shifts.reshape(-1), places)


def _keep_best(scan: Scan, rows: slice, likelihood: Any, shift: Any, first: int) -> None:
    xp = namespace_of(likelihood)
    at = likelihood.argmax(axis=1)
    places = at + likelihood.shape[1] * xp.arange(likelihood.shape[0])
    top = xp.take(likelihood.reshape(-1), places)
    better = top > scan.best_score[rows]
    scan.best_score[rows] = xp.where(better, top, scan.best_score[rows])
    scan.best_rotation[rows] = xp.where(better, at + first, scan.best_rotation[rows])
    scan.best_shift[rows] = xp.where(
        better, xp.take(shift.reshape(-1), places), scan.best_shift[rows]
    )
