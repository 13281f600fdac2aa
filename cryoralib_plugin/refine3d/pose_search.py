# SPDX-License-Identifier: GPL-3.0-or-later
"""A particle's poses among points all over the rotations, then near the best of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, List, Sequence, Tuple

import numpy as np

from cryoralib_plugin.arrays import namespace_of
from cryoralib_plugin.fourier.volume import FourierVolume
from cryoralib_plugin.geometry.acg import RotationSpread, gaussian_std_deg, ratio_of_scale
from cryoralib_plugin.geometry.rotations import angle_between
from cryoralib_plugin.geometry.so3_grid import scan_size, spacing_deg
from cryoralib_plugin.geometry.symmetry import nearest_mates

from .closing_in import Drawn, Steps, closed_in, remembered_points
from .local_search import Proposal, Search, local_search
from .particle_data import ParticleData
from .posterior import Posterior, spread_of_points

_WIDE_DEG, _WIDE_SHARE = 20.0, 0.125
"""Standard deviation about an axis beyond which a particle has several poses, not one, and at most
as a share of the room that symmetry leaves to one."""

_FAR = 3.0
"""Distance in steps of the scan beyond which a pose is another one."""

_ONE_POSE = 0.9
"""Probability near the best rotation from which a particle has one pose; those with less keep all
their poses, each with its weight."""


@dataclass(frozen=True)
class Reach:
    """Distance of neighbouring poses: in a scan, or as fine as the images of another round show.

    Attributes
    ----------
    operators : (order, 4) float64, of the symmetry.
    step_deg, step_px : distance of neighbours.
    """

    operators: Any
    step_deg: float
    step_px: float

    def steps(self) -> Steps:
        """Return steps that stay nearer than neighbours."""
        return Steps(0.5 * self.step_deg, 0.5 * self.step_px)

    @property
    def far_deg(self) -> float:
        """Angle beyond which a pose is another one, however coarse the scan."""
        return min(_FAR * self.step_deg, 0.5 * spacing_deg(1, len(self.operators)))

    @property
    def wide_deg(self) -> float:
        """Standard deviation about an axis beyond which a particle has several poses."""
        return min(_WIDE_DEG, _WIDE_SHARE * spacing_deg(1, len(self.operators)))


def reach_of(
    search: Search, *, box_size_px: int, diameter_px: float, cutoff_px: int, operators: np.ndarray
) -> Reach:
    """Return what images up to a cut-off tell apart, on the host.

    Parameters
    ----------
    diameter_px : of the particle.
    operators : (order, 4) float64.
    """
    order = len(operators)
    n_rotations = scan_size(box_size_px, diameter_px, cutoff_px, order)
    step_px = box_size_px / cutoff_px / search.filter.shift_density**0.5
    return Reach(operators, spacing_deg(n_rotations, order), step_px)


@dataclass(frozen=True)
class Start:
    """Particles that are looked for, and how; see `closed_in`."""

    rows: Any
    before: Proposal
    settled: Any
    first: Drawn
    sizes: Tuple[int, ...]
    radii_px: Sequence[int]
    steps: Steps


@dataclass(frozen=True)
class Piece:
    """Posteriors of some particles, their phases, and whether each is about another pose.

    That is another one than it had settled in; a particle that had not has no pose to compare.
    """

    rows: Any
    found: Posterior
    n_phases: Any
    is_another: Any


def best_of(pieces: List[Piece], n: int, margin: float) -> Tuple[Posterior, Any]:
    """Return the posteriors of n particles, each the better of its pieces, and all its phases.

    The first piece that has a particle counts, unless a later one is about another pose and its
    log-likelihood is higher by the margin.
    """
    xp = namespace_of(pieces[0].rows)
    found = pieces[0].found.spread_out(pieces[0].rows, n)
    n_phases = xp.zeros(n, dtype=xp.int64)
    for one in pieces:
        n_phases[one.rows] += one.n_phases
    for one in pieces[1:]:
        higher = one.found.best_score > found.best_score[one.rows] + margin
        is_better = ~found.usable[one.rows] | (one.is_another & higher)
        found.put(one.rows[is_better], one.found[is_better])
    return found, n_phases


def looked_for(
    data: ParticleData, volume: FourierVolume, start: Start, reach: Reach, search: Search
) -> Piece:
    """Return the posteriors of particles over all rotations."""
    xp = namespace_of(data.spectra)
    found, steps = closed_in(
        data, volume, start.before.defocus_factor, start.first, start.sizes, start.radii_px,
        start.steps, search,
    )  # fmt: skip
    # One pose on both sides of a border between mates becomes one cloud.
    best = found.best_rotation()[:, None]
    found = replace(found, rotations=nearest_mates(found.rotations, best, reach.operators))
    n_phases = xp.full(len(data), len(start.radii_px))
    one_pose, near_best = _around_the_best(found, start.before, steps, reach)
    apart = angle_between(found.best_rotation(), start.before.rotation.mean, reach.operators)
    # One that is found where it was has been searched from there.
    is_another = ~start.settled | (apart > reach.far_deg)
    rows = xp.flatnonzero(one_pose & is_another & found.is_starved)
    if len(rows):
        fresh, more = local_search(data[rows], volume, near_best[rows], search, to_rest=False)
        found.put(rows, fresh)
        n_phases[rows] += more
    return Piece(start.rows, found, n_phases, is_another)


def among_remembered(
    data: ParticleData, volume: FourierVolume, rows: Any, before: Proposal,
    cloud: Tuple[Any, Any], reach: Reach, search: Search,
) -> Piece:  # fmt: skip
    """Return the posteriors of some particles, on points near those they remember.

    Parameters
    ----------
    data, before, cloud : of all particles.
    rows : of those in question; none of them had settled.
    """
    xp = namespace_of(rows)
    some, steps, last_px = data[rows], reach.steps().halved(), data.band.highest_px
    first = remembered_points(some.ids, cloud[0][rows], cloud[1][rows], steps, search)
    sizes, radii_px = (search.filter.n_local_rotations,), [last_px, last_px]
    settled = xp.zeros(len(rows), dtype=bool)
    start = Start(rows, before[rows], settled, first, sizes, radii_px, steps)
    return looked_for(some, volume, start, reach, search)


def search_near(
    data: ParticleData, volume: FourierVolume, before: Proposal, cloud: Tuple[Any, Any],
    reach: Reach, search: Search,
) -> Tuple[Posterior, Any]:  # fmt: skip
    """Return the posterior of the poses of n particles near those they had, and their phases.

    A particle with several poses keeps them: the mean of these is none. Defoci are searched with
    one pose only.

    Parameters
    ----------
    before : centre and spread of the clouds particles come with.
    cloud : their rotations (n, n_points, 4) and shifts (n, n_points, 2).
    """
    xp = namespace_of(data.spectra)
    wide = gaussian_std_deg(before.rotation.ratio).max(axis=1) > reach.wide_deg
    several = wide & (not search.searches_defocus)
    pieces: List[Piece] = []
    rows = xp.flatnonzero(~several)
    if len(rows):
        near = local_search(data[rows], volume, before[rows], search)
        pieces.append(Piece(rows, *near, xp.zeros(len(rows), dtype=bool)))
    rows = xp.flatnonzero(several)
    if len(rows):
        pieces.append(among_remembered(data, volume, rows, before, cloud, reach, search))
    return best_of(pieces, len(data), search.filter.keep_pose_margin)


def _around_the_best(
    found: Posterior, before: Proposal, steps: Steps, reach: Reach
) -> Tuple[Any, Proposal]:
    """Return which particles have one pose, and centre and spread of the points near the best."""
    xp = namespace_of(found.rotations)
    best = found.best_rotation()
    apart = angle_between(found.rotations, best[:, None])
    near = xp.where(apart <= reach.far_deg, found.rotation_weight, 0.0)
    spread = spread_of_points(found.rotations, near)
    shift, shift_std = found.shift_moments()
    spread = RotationSpread(
        spread.mean, xp.maximum(spread.ratio, ratio_of_scale(steps.rotation_deg))
    )
    proposal = Proposal(spread, shift, shift_std, before.defocus_factor, before.defocus_std)
    return near.sum(axis=1) >= _ONE_POSE, proposal
