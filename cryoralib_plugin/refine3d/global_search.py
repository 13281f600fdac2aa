# SPDX-License-Identifier: GPL-3.0-or-later
"""The search over all rotations: one scan shared by all particles, then clouds that close in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Tuple

import numpy as np

from cryoralib_plugin.arrays import namespace_of
from cryoralib_plugin.contract.plan3d import BEYOND_THE_SCAN, LARGEST_SCAN
from cryoralib_plugin.fourier.volume import FourierVolume
from cryoralib_plugin.geometry.acg import (
    RotationSpread,
    angular_scale_deg,
    draw_steps,
    ratio_of_scale,
)
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

_KEPT = 1024
"""Heaviest rotations of a scan that are looked at again, beyond the cut-off of the scan."""

_SLICES_PER_BLOCK = 2048
_LEAST_EFFECTIVE = 0.2
"""Share of the points that must count while they close in."""

_FAR = 3.0
"""Distance in steps of the scan beyond which a pose is another one."""
_ONE_POSE = 0.9
"""Probability near the best rotation from which a particle has one pose; those with less keep all
their poses, each with its weight."""


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
    fine = min(cutoff_px, round(BEYOND_THE_SCAN * radius))
    n_rotations = settings.n_scan_rotations or scan_size(box_size_px, diameter_px, radius, order)
    key = np.zeros(1, np.int64)
    turn = normalise(normal(search.seed, search.iteration, 0, key, 4)[0])
    angle = 2.0 * np.pi * uniform(search.seed, search.iteration, 1, key, 1)[0, 0]
    if settings.shift_std_px == 0.0:
        shifts = np.zeros((1, 2))
    else:
        reach = scan_radius_px(settings.shift_std_px)
        density = settings.shift_density * (fine / box_size_px) ** 2
        shifts = scan_shifts(n_scan_shifts(reach, density), reach, angle)
    return ScanSet(
        scan_rotations(n_rotations, operators, turn), shifts, operators, fine,
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

    The scan keeps many of the heaviest rotations of each particle. Fewer and fewer points, drawn
    from them with weights tempered so that many count, close in on the peaks by halves, while the
    cut-off grows to that of the round; what tempering changed is undone by their weights.
    Particles that have one pose are searched near it; the others keep all their poses. A particle
    that had one pose leaves it only for one whose log-likelihood is higher by a margin, and is
    scanned in every second round only; its number decides in which.

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
    narrow = angular_scale_deg(before.rotation.ratio).max(axis=1) < scan_set.step_deg
    settled = known & narrow
    # Every second round is enough to find a particle that has settled wrongly.
    scanned = xp.flatnonzero(~settled | ((data.ids + search.iteration) % 2 == 0))
    if not len(scanned):
        return local_search(data, volume, before, search)
    found, step_deg, phases = _closed_in(data[scanned], volume, before[scanned], scan_set, search)
    one_pose, start = _around_the_best(found, before[scanned], step_deg, scan_set)
    rows = xp.flatnonzero(one_pose)
    if len(rows):
        fresh, more = local_search(data[scanned[rows]], volume, start[rows], search)
        found.put(rows, fresh)
        phases[rows] += more
    found = found.spread_out(scanned, len(data))
    n_phases = xp.zeros(len(data), dtype=xp.int64)
    n_phases[scanned] = phases
    kept = xp.flatnonzero(settled)
    if len(kept):
        old, phases = local_search(data[kept], volume, before[kept], search)
        apart = angle_between(found[kept].best_rotation(), old.best_rotation(), scan_set.operators)
        margin = xp.where(apart > _FAR * scan_set.step_deg, search.filter.keep_pose_margin, 0.0)
        stays = xp.flatnonzero(
            ~found.usable[kept] | (old.best_score + margin >= found.best_score[kept])
        )
        found.put(kept[stays], old[stays])
        n_phases[kept] += phases
    return found, n_phases


def _closed_in(
    data: ParticleData,
    volume: FourierVolume,
    before: Proposal,
    scan_set: ScanSet,
    search: Search,
) -> Tuple[Posterior, float, Any]:
    """Return posteriors on as many points as a cloud has, their last step, and the phases."""
    xp = namespace_of(data.spectra)
    ids, n_local = data.ids, search.filter.n_local_rotations
    cloud = _candidates(data, volume, scan_set, search)
    step_deg, step_px = 0.5 * scan_set.step_deg, 0.5 * scan_set.step_px
    sizes = [max(len(cloud.rotations[0]) // 2, n_local), n_local]
    radii = np.geomspace(scan_set.cutoff_px, data.band.highest_px, len(sizes) + 2)[1:]
    for phase, radius in enumerate(np.rint(radii).astype(int)):
        rotations, shift_px = _moved(ids, cloud, step_deg, step_px, phase, search)
        points = Points(
            rotations,
            shift_px,
            before.defocus_factor[:, None],
            cloud.log_rotation,
            cloud.log_shift + shift_prior(shift_px, search.filter.shift_std_px),
            xp.zeros((len(data), 1)),
        )
        found = scored(data.within(data.band.lowest_px, int(radius)), volume, points)
        step_deg, step_px = 0.5 * step_deg, 0.5 * step_px
        if phase < len(sizes):
            cloud = _thinned(found, sizes[phase], phase, ids, search)
    return found, step_deg, xp.full(len(data), len(sizes) + 1)


@dataclass(frozen=True)
class _Drawn:
    """Points drawn from weighted ones, and the logarithms of what their weights must undo."""

    rotations: Any
    shift_px: Any
    log_rotation: Any
    log_shift: Any


def _candidates(
    data: ParticleData, volume: FourierVolume, scan_set: ScanSet, search: Search
) -> _Drawn:
    """Return the heaviest rotations and shifts of a scan, all alike: their order is by number."""
    xp = namespace_of(data.spectra)
    settings = search.filter
    coarse = data.within(data.band.lowest_px, scan_set.cutoff_px)
    ones = xp.ones((len(data), 1))
    n_kept = max(settings.n_local_rotations, min(_KEPT, len(scan_set.rotations) // 2))
    scan = start_scan(
        coarse.whitened(ones), scan_set.shift_px, coarse.band, n_kept=n_kept,
        log_shift_weight=shift_prior(scan_set.shift_px, settings.shift_std_px),
    )  # fmt: skip
    for first in range(0, len(scan_set.rotations), _SLICES_PER_BLOCK):
        block = to_matrices(scan_set.rotations[first : first + _SLICES_PER_BLOCK])
        update_scan(scan, project(volume, block, coarse.band), first)
    # Mates of one pose on both sides of the border of the unit become one cloud.
    best = scan_set.rotations[xp.maximum(scan.best_rotation, 0)]
    # By number: the order of almost equal masses is a matter of rounding, which matrix products
    # of other sizes do otherwise.
    kept = xp.sort(scan.kept_rotation, axis=1)
    rotations = nearest_mates(
        scan_set.rotations[xp.maximum(kept, 0)], best[:, None], scan_set.operators
    )
    n_shifts = settings.n_local_shifts if settings.shift_std_px > 0.0 else 1
    n_heavy = min(n_shifts, len(scan_set.shift_px))
    rows = xp.sort(xp.argsort(-scan.shift_mass, axis=1)[:, :n_heavy], axis=1)
    rows = rows[:, xp.arange(n_shifts) % n_heavy]
    # All that was kept is looked at once, whatever its mass.
    even = xp.where(kept >= 0, 0.0, -xp.inf)
    return _Drawn(rotations, scan_set.shift_px[rows], even, xp.zeros(rows.shape))


def _moved(
    ids: Any, cloud: _Drawn, step_deg: float, step_px: float, phase: int, search: Search
) -> Tuple[Any, Any]:
    """Return points moved by random steps of a given scale about the axes of their own images."""
    xp = namespace_of(cloud.rotations)
    n_rotations, n_shifts = cloud.rotations.shape[1], cloud.shift_px.shape[1]
    draws = search.normals(8 + phase, ids, 4 * n_rotations + 2 * n_shifts)
    ratio = xp.full((len(ids), 3), ratio_of_scale(step_deg))
    steps = draw_steps(ratio, draws[:, : 4 * n_rotations].reshape(-1, n_rotations, 4))
    moves = step_px * draws[:, 4 * n_rotations :].reshape(-1, n_shifts, 2)
    if search.filter.shift_std_px == 0.0:
        moves = xp.zeros_like(moves)
    return normalise(multiply(cloud.rotations, steps)), cloud.shift_px + moves


def _thinned(found: Posterior, n_rotations: int, phase: int, ids: Any, search: Search) -> _Drawn:
    """Return points drawn from a posterior."""
    xp = namespace_of(found.rotations)
    n_shifts = found.shift_px.shape[1]
    turned, undone = _drawn_rows(
        found.log_rotation_weight, _least(n_rotations), n_rotations, 16 + 2 * phase, ids, search
    )
    moved, undone_shift = _drawn_rows(
        found.log_shift_weight, _least(n_shifts), n_shifts, 17 + 2 * phase, ids, search
    )
    return _Drawn(
        xp.take_along_axis(found.rotations, turned[..., None], axis=1),
        xp.take_along_axis(found.shift_px, moved[..., None], axis=1),
        undone,
        undone_shift,
    )


def _drawn_rows(
    log_weights: Any, n_least: float, n_points: int, phase: int, ids: Any, search: Search
) -> Tuple[Any, Any]:
    """Return which points a systematic resampling takes, and what their weights must undo.

    A point drawn in proportion to ``w^b`` stands for the share ``w^b`` already.
    """
    xp = namespace_of(log_weights)
    powers, exponent = tempered(log_weights, n_least)
    offsets = uniform(search.seed, search.iteration, phase, ids, 1)[:, 0]
    rows = rows_of_counts(systematic_counts(powers, offsets, n_points), n_points)
    return rows, -exponent[:, None] * xp.take_along_axis(log_weights, rows, axis=1)


def _least(n_points: int) -> float:
    return max(1.0, _LEAST_EFFECTIVE * n_points)


def _around_the_best(
    found: Posterior, before: Proposal, step_deg: float, scan_set: ScanSet
) -> Tuple[Any, Proposal]:
    """Return which particles have one pose, and centre and spread of the points near the best."""
    xp = namespace_of(found.rotations)
    best = found.best_rotation()
    apart = angle_between(found.rotations, best[:, None], scan_set.operators)
    near = xp.where(apart <= _FAR * scan_set.step_deg, found.rotation_weight, 0.0)
    rotations = nearest_mates(found.rotations, best[:, None], scan_set.operators)
    spread = spread_of_points(rotations, near)
    shift, shift_std = found.shift_moments()
    spread = RotationSpread(spread.mean, xp.maximum(spread.ratio, ratio_of_scale(step_deg)))
    proposal = Proposal(spread, shift, shift_std, before.defocus_factor, before.defocus_std)
    return near.sum(axis=1) >= _ONE_POSE, proposal
