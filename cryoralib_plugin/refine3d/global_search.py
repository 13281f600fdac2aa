# SPDX-License-Identifier: GPL-3.0-or-later
"""The search over all rotations: one scan shared by all particles, then clouds that close in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Tuple

import numpy as np

from cryoralib_plugin.arrays import namespace_of
from cryoralib_plugin.fourier.volume import FourierVolume
from cryoralib_plugin.geometry.acg import RotationSpread, draw_steps, ratio_of_scale
from cryoralib_plugin.geometry.rotations import angle_between, multiply, normalise, to_matrices
from cryoralib_plugin.geometry.shift_grid import n_scan_shifts, scan_radius_px, scan_shifts
from cryoralib_plugin.geometry.so3_grid import scan_rotations, scan_size, spacing_deg
from cryoralib_plugin.geometry.symmetry import nearest_mates
from cryoralib_plugin.kernels.project import project
from cryoralib_plugin.kernels.random import normal, uniform
from cryoralib_plugin.kernels.score.scan import start_scan, update_scan

from .local_search import Proposal, Search, local_search, scored, shift_prior
from .particle_data import ParticleData
from .posterior import Points, Posterior, spread_of_points
from .resample import rows_of_counts, systematic_counts, tempered

LARGEST_SCAN = 36000
"""Rotations in a scan, times the order of the symmetry: 7.5 degrees apart. Where the cut-off asks
for more, the scan is made at a coarser one, and clouds close in at the cut-off itself."""

_SLICES_PER_BLOCK = 2048
_CLOSING_IN = 3
"""Phases between the scan and the local search; each one halves the step of the points."""
_LEAST_EFFECTIVE = 0.2
"""Share of the points that must count while they close in."""
_FAR = 3.0
"""Distance in steps of the scan beyond which a pose is another one."""


@dataclass(frozen=True)
class ScanSet:
    """The rotations and shifts every particle is compared with in a round.

    Attributes
    ----------
    rotations : (n_rotations, 4) float64, in the asymmetric unit.
    shift_px : (n_shifts, 2) float64.
    operators : (order, 4) float64, of the symmetry.
    cutoff_px : exclusive radius of the scan, at most that of the round.
    step_deg : distance of neighbours.
    """

    rotations: Any
    shift_px: Any
    operators: Any
    cutoff_px: int
    step_deg: float

    @property
    def step_px(self) -> float:
        """Distance of neighbouring shifts."""
        extent = float(np.sqrt((np.asarray(self.shift_px.tolist()) ** 2).sum(axis=1).max()))
        return extent * np.sqrt(np.pi / len(self.shift_px))


def make_scan_set(
    search: Search,
    *,
    box_size_px: int,
    diameter_px: float,
    cutoff_px: int,
    lowest_px: int,
    operators: np.ndarray,
) -> ScanSet:
    """Return the scan of a round, on the host; another turn of the same set in each round.

    Parameters
    ----------
    diameter_px : of the particle.
    cutoff_px, lowest_px : band of the round.
    operators : (order, 4) float64.
    """
    order = len(operators)
    settings = search.filter
    radius = cutoff_px
    while radius > lowest_px + 2 and (
        scan_size(box_size_px, diameter_px, radius, order) * order > LARGEST_SCAN
    ):
        radius -= 1
    n_rotations = settings.n_scan_rotations or scan_size(box_size_px, diameter_px, radius, order)
    key = np.zeros(1, np.int64)
    turn = normalise(normal(search.seed, search.iteration, 0, key, 4)[0])
    angle = 2.0 * np.pi * uniform(search.seed, search.iteration, 1, key, 1)[0, 0]
    if settings.shift_std_px == 0.0:
        shifts = np.zeros((1, 2))
    else:
        reach = scan_radius_px(settings.shift_std_px)
        density = settings.shift_density * (radius / box_size_px) ** 2
        shifts = scan_shifts(n_scan_shifts(reach, density), reach, angle)
    return ScanSet(
        scan_rotations(n_rotations, operators, turn), shifts, operators, radius,
        spacing_deg(n_rotations, order),
    )  # fmt: skip


def global_search(
    data: ParticleData,
    volume: FourierVolume,
    before: Proposal,
    known: Any,
    scan_set: ScanSet,
    search: Search,
) -> Tuple[Posterior, Any]:
    """Return the posterior of the poses of n particles over all rotations, and their phases.

    The scan keeps the heaviest rotations of each particle; points drawn from them, tempered so
    that many count, close in on the peaks by halves. A particle that had a pose leaves it only
    for one whose log-likelihood is higher by a margin.

    Parameters
    ----------
    data : particles in the band of the round.
    volume : spectrum of the map.
    before : centre and spread of the clouds particles come with.
    known : (n,) bool, whether those say anything.
    scan_set : rotations and shifts, on the device.
    search : shared settings.
    """
    xp = namespace_of(data.spectra)
    ids = data.ids
    rotations, shift_px = _candidates(data, volume, scan_set, search)
    step_deg, step_px = 0.5 * scan_set.step_deg, 0.5 * scan_set.step_px
    found = None
    for phase in range(_CLOSING_IN):
        rotations, shift_px = _moved(ids, rotations, shift_px, step_deg, step_px, phase, search)
        flat = xp.zeros(rotations.shape[:2])
        points = Points(
            rotations,
            shift_px,
            before.defocus_factor[:, None],
            flat,
            shift_prior(shift_px, search.filter.shift_std_px),
            xp.zeros((len(data), 1)),
        )
        found = scored(data, volume, points)
        rotations, shift_px = _resampled(found, phase, ids, search)
        step_deg, step_px = 0.5 * step_deg, 0.5 * step_px
    start = _around_the_best(found, before, step_deg, scan_set)
    fresh, n_phases = local_search(data, volume, start, search)
    kept = xp.flatnonzero(known)
    if not len(kept):
        return fresh, n_phases + _CLOSING_IN
    old, phases_of_old = local_search(data[kept], volume, before[kept], search)
    apart = angle_between(
        fresh[kept].best_rotation(), old.best_rotation(), scan_set.operators
    )
    far = apart > _FAR * scan_set.step_deg
    stays = old.best_score + xp.where(far, search.filter.keep_pose_margin, 0.0) >= (
        fresh.best_score[kept]
    )
    rows = xp.flatnonzero(stays)
    fresh.put(kept[rows], old[rows])
    n_phases[kept] += phases_of_old
    return fresh, n_phases + _CLOSING_IN


def _candidates(
    data: ParticleData, volume: FourierVolume, scan_set: ScanSet, search: Search
) -> Tuple[Any, Any]:
    """Return rotations (n, n_rotations, 4) and shifts (n, n_shifts, 2) drawn from a scan."""
    xp = namespace_of(data.spectra)
    settings = search.filter
    coarse = data.within(data.band.lowest_px, scan_set.cutoff_px)
    ones = xp.ones((len(data), 1))
    scan = start_scan(
        coarse.whitened(ones), scan_set.shift_px, coarse.band,
        n_kept=settings.n_local_rotations,
        log_shift_weight=shift_prior(scan_set.shift_px, settings.shift_std_px),
    )  # fmt: skip
    for first in range(0, len(scan_set.rotations), _SLICES_PER_BLOCK):
        block = to_matrices(scan_set.rotations[first : first + _SLICES_PER_BLOCK])
        update_scan(scan, project(volume, block, coarse.band), first)
    log_mass = xp.where(scan.kept_rotation >= 0, scan.kept_log_mass, -xp.inf)
    weights = tempered(log_mass, _least(settings.n_local_rotations))
    rows = _drawn_rows(weights, settings.n_local_rotations, 2, data.ids, search)
    chosen = xp.take_along_axis(xp.maximum(scan.kept_rotation, 0), rows, axis=1)
    # Mates of one pose on both sides of the border of the unit become one cloud.
    best = scan_set.rotations[xp.maximum(scan.best_rotation, 0)]
    rotations = nearest_mates(scan_set.rotations[chosen], best[:, None], scan_set.operators)
    mass = scan.shift_mass / scan.shift_mass.sum(axis=1, keepdims=True)
    n_shifts = settings.n_local_shifts if settings.shift_std_px > 0.0 else 1
    shift_rows = _drawn_rows(
        tempered(xp.log(xp.maximum(mass, 1e-300)), min(_least(n_shifts), mass.shape[1])),
        n_shifts, 3, data.ids, search,
    )  # fmt: skip
    return rotations, scan_set.shift_px[shift_rows]


def _moved(
    ids: Any, rotations: Any, shift_px: Any, step_deg: float, step_px: float, phase: int,
    search: Search,
) -> Tuple[Any, Any]:  # fmt: skip
    """Return points moved by random steps of a given scale about the axes of their own images."""
    xp = namespace_of(rotations)
    n_rotations, n_shifts = rotations.shape[1], shift_px.shape[1]
    draws = search.normals(8 + phase, ids, 4 * n_rotations + 2 * n_shifts)
    ratio = xp.full((len(rotations), 3), ratio_of_scale(step_deg))
    steps = draw_steps(ratio, draws[:, : 4 * n_rotations].reshape(-1, n_rotations, 4))
    moves = step_px * draws[:, 4 * n_rotations :].reshape(-1, n_shifts, 2)
    if search.filter.shift_std_px == 0.0:
        moves = xp.zeros_like(moves)
    return normalise(multiply(rotations, steps)), shift_px + moves


def _resampled(found: Posterior, phase: int, ids: Any, search: Search) -> Tuple[Any, Any]:
    xp = namespace_of(found.rotations)
    n_rotations, n_shifts = found.rotation_weight.shape[1], found.shift_weight.shape[1]
    turned = tempered(xp.log(xp.maximum(found.rotation_weight, 1e-300)), _least(n_rotations))
    moved = tempered(xp.log(xp.maximum(found.shift_weight, 1e-300)), _least(n_shifts))
    rows = _drawn_rows(turned, n_rotations, 16 + 2 * phase, ids, search)
    shift_rows = _drawn_rows(moved, n_shifts, 17 + 2 * phase, ids, search)
    return (
        xp.take_along_axis(found.rotations, rows[..., None], axis=1),
        xp.take_along_axis(found.shift_px, shift_rows[..., None], axis=1),
    )


def _drawn_rows(weights: Any, n_points: int, phase: int, ids: Any, search: Search) -> Any:
    """Return which points a systematic resampling takes, (n, n_points)."""
    offsets = uniform(search.seed, search.iteration, phase, ids, 1)[:, 0]
    return rows_of_counts(systematic_counts(weights, offsets, n_points), n_points)


def _least(n_points: int) -> float:
    return max(1.0, _LEAST_EFFECTIVE * n_points)


def _around_the_best(
    found: Posterior, before: Proposal, step_deg: float, scan_set: ScanSet
) -> Proposal:
    """Return centre and spread of the points near the heaviest one."""
    xp = namespace_of(found.rotations)
    best = found.best_rotation()
    apart = angle_between(found.rotations, best[:, None], scan_set.operators)
    near = xp.where(apart <= _FAR * scan_set.step_deg, found.rotation_weight, 0.0)
    rotations = nearest_mates(found.rotations, best[:, None], scan_set.operators)
    spread = spread_of_points(rotations, near)
    shift, shift_std = found.shift_moments()
    spread = RotationSpread(spread.mean, xp.maximum(spread.ratio, ratio_of_scale(step_deg)))
    return Proposal(spread, shift, shift_std, before.defocus_factor, before.defocus_std)
