# SPDX-License-Identifier: GPL-3.0-or-later
"""The particle filter near a pose: draw support points, weigh them, learn their spread, repeat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Tuple

from cryoralib_plugin.arrays import namespace_of
from cryoralib_plugin.contract.particle_filter import ParticleFilter
from cryoralib_plugin.fourier.volume import FourierVolume
from cryoralib_plugin.geometry.acg import RotationSpread, draw_steps, ratio_of_scale
from cryoralib_plugin.geometry.rotations import multiply, normalise, to_matrices
from cryoralib_plugin.kernels.random import normal
from cryoralib_plugin.kernels.score import local_scores

from .particle_data import ParticleData
from .posterior import Points, Posterior, moments, spread_of_points, weigh

_LOCAL_PHASE = 32
"""Number of the first local phase among the random streams of a round; scans have those before."""

_PHASES_IN_PASSING = 6
"""Phases at most of a search that the next round goes on with: the few particles whose points never
count would take half the time of all others."""

_NARROWEST_DEG, _NARROWEST_PX, _NARROWEST_DEFOCUS = 0.02, 0.01, 1e-4
"""Least spreads of a proposal: a cloud of one point could never move again."""

_MOST_SHRINKAGE = 1.0 / 3.0
"""A spread falls to this part of itself in a phase at most: a lone heavy point among poor ones
says where to look next, not how sure to be."""


@dataclass(frozen=True)
class Search:
    """What all particles of a round share.

    Attributes
    ----------
    filter : parameters.
    seed, iteration : key of the random draws.
    searches_defocus : whether defoci are support points too, or stay as they are.
    """

    filter: ParticleFilter
    seed: int
    iteration: int
    searches_defocus: bool = False

    def normals(self, phase: int, ids: Any, n_draws: int) -> Any:
        """Return standard normal draws (n, n_draws) of a phase."""
        return normal(self.seed, self.iteration, phase, ids, n_draws)


@dataclass(frozen=True)
class Proposal:
    """Where support points are drawn: centre and spread of n clouds.

    Attributes
    ----------
    rotation : means (n, 4) and ratios (n, 3).
    shift_px, shift_std_px : (n, 2) float64.
    defocus_factor, defocus_std : (n,) float64.
    """

    rotation: RotationSpread
    shift_px: Any
    shift_std_px: Any
    defocus_factor: Any
    defocus_std: Any

    def __getitem__(self, rows: Any) -> Proposal:
        """Return those of some particles."""
        return Proposal(
            RotationSpread(self.rotation.mean[rows], self.rotation.ratio[rows]),
            self.shift_px[rows], self.shift_std_px[rows],
            self.defocus_factor[rows], self.defocus_std[rows],
        )  # fmt: skip


def proposal_of(rotations: Any, shift_px: Any, defocus_factor: Any) -> Proposal:
    """Return centre and spread of equally likely support points (n, n_points, ...)."""
    xp = namespace_of(rotations)
    even = xp.full(shift_px.shape[:2] + (1,), 1.0 / shift_px.shape[1])
    same = xp.full(defocus_factor.shape, 1.0 / defocus_factor.shape[1])
    return Proposal(
        spread_of_points(rotations),
        *moments(shift_px.astype(xp.float64), even),
        *moments(defocus_factor.astype(xp.float64), same),
    )


def local_search(
    data: ParticleData,
    volume: FourierVolume,
    proposal: Proposal,
    search: Search,
    *,
    to_rest: bool = True,
) -> Tuple[Posterior, Any]:
    """Return the posterior of the poses of n particles, and how many phases each one took.

    Adaptive importance sampling: a phase draws points from an angular central Gaussian and normal
    distributions around the means so far, somewhat wider than the spreads so far; the weights are
    likelihoods over the density the points were drawn from, so the prior is flat in rotation and
    the weighted spread is that of the posterior, not of the sampling. A particle rests when no
    spread falls any more and enough points count.

    Parameters
    ----------
    data : particles in the band that is compared.
    volume : spectrum of the map.
    proposal : where to begin.
    search : shared settings.
    to_rest : whether particles go on while their spreads fall; else they end once enough points
        count, or after a few phases, and the next round goes on where they are.
    """
    xp = namespace_of(data.spectra)
    settings = search.filter
    n = len(data)
    active = xp.arange(n)
    n_phases = xp.zeros(n, dtype=xp.int64)
    smallest = xp.full((n, 3), xp.inf)
    result: Any = None
    most = settings.highest_phases
    for phase in range(most if to_rest else min(most, _PHASES_IN_PASSING)):
        widening = settings.first_perturbation if phase == 0 else settings.perturbation
        points = _drawn(data[active].ids, proposal[active], widening, phase, search)
        found = scored(data[active], volume, points)
        if result is None:
            result = found
        else:
            result.put(active, found)
        n_phases[active] += 1
        goes_on = found.is_starved & found.usable
        # Where nothing is asked of the spreads, only those that go on need new ones.
        rows = xp.arange(len(active)) if to_rest else xp.flatnonzero(goes_on)
        learned = _learned(proposal[active[rows]], found[rows], search.searches_defocus)
        proposal = _replaced(proposal, active[rows], learned)
        if to_rest:
            spreads = _spreads(learned, search.searches_defocus)
            falls = (spreads < settings.resting_factor * smallest[active]).any(axis=1)
            smallest[active] = xp.minimum(smallest[active], spreads)
            goes_on |= (falls & found.usable) | (phase + 1 < settings.lowest_phases)
        active = active[goes_on]
        if not len(active):
            break
    return result, n_phases


def scored(data: ParticleData, volume: FourierVolume, points: Points) -> Posterior:
    """Return the posterior on given support points."""
    scores = local_scores(
        volume,
        data.whitened(points.defocus_factor),
        to_matrices(points.rotations),
        points.shift_px,
        data.band,
    )
    return weigh(points, scores)


def shift_prior(shift_px: Any, std_px: float) -> Any:
    """Return the logarithm of the normal prior of shifts (..., 2), up to a constant."""
    xp = namespace_of(shift_px)
    if std_px == 0.0:
        return xp.zeros(shift_px.shape[:-1])
    return -0.5 * (shift_px**2).sum(axis=-1) / std_px**2


def _drawn(ids: Any, proposal: Proposal, widening: float, phase: int, search: Search) -> Points:
    xp = namespace_of(ids)
    settings = search.filter
    n_defoci = settings.n_local_defoci if search.searches_defocus else 1
    n_rotations = settings.n_local_rotations
    n_shifts = settings.n_shifts_each
    draws = search.normals(_LOCAL_PHASE + phase, ids, 4 * n_rotations + 2 * n_shifts + n_defoci)
    normals = draws[:, : 4 * n_rotations].reshape(-1, n_rotations, 4)
    ratio = xp.clip(widening**2 * proposal.rotation.ratio, ratio_of_scale(_NARROWEST_DEG), 1.0)
    steps = draw_steps(ratio, normals)
    rotations = normalise(multiply(proposal.rotation.mean[:, None], steps))
    # The density of the angular central Gaussian, up to what is the same for all points.
    log_rotation = 2.0 * xp.log(steps[..., 0] ** 2 + (steps[..., 1:] ** 2 / ratio[:, None]).sum(-1))
    unit = draws[:, 4 * n_rotations :][:, : 2 * n_shifts].reshape(-1, n_shifts, 2)
    if settings.shift_std_px == 0.0:
        unit = xp.zeros_like(unit)
    width = xp.maximum(widening * proposal.shift_std_px, _NARROWEST_PX)
    shift = proposal.shift_px[:, None] + width[:, None] * unit
    log_shift = 0.5 * (unit**2).sum(axis=-1) + shift_prior(shift, settings.shift_std_px)
    if not search.searches_defocus:
        factor = proposal.defocus_factor[:, None]
        return Points(rotations, shift, factor, log_rotation, log_shift, xp.zeros_like(factor))
    free = draws[:, 4 * n_rotations + 2 * n_shifts :]
    spread = xp.maximum(widening * proposal.defocus_std, _NARROWEST_DEFOCUS)
    factor = proposal.defocus_factor[:, None] + spread[:, None] * free
    limit = settings.defocus_limit
    log_defocus = xp.where(xp.abs(factor - 1.0) <= limit, 0.5 * free**2, -xp.inf)
    # A cloud that lies outside as a whole is brought back, not lost.
    outside = ~xp.isfinite(log_defocus).any(axis=1)
    factor = xp.where(outside[:, None], xp.clip(factor, 1.0 - limit, 1.0 + limit), factor)
    log_defocus = xp.where(outside[:, None], 0.0, log_defocus)
    return Points(rotations, shift, factor, log_rotation, log_shift, log_defocus)


def _learned(before: Proposal, found: Posterior, searches_defocus: bool) -> Proposal:
    """Return centre and spread of the weighted points, which shrink in steps."""
    xp = namespace_of(found.rotations)
    spread = found.rotation_spread()
    ratio = xp.maximum(spread.ratio, _MOST_SHRINKAGE**2 * before.rotation.ratio)
    shift, shift_std = found.shift_moments()
    shift_std = xp.maximum(shift_std, _MOST_SHRINKAGE * before.shift_std_px)
    factor, defocus_std = before.defocus_factor, before.defocus_std
    if searches_defocus:
        factor, defocus_std = found.defocus_moments()
        defocus_std = xp.maximum(defocus_std, _MOST_SHRINKAGE * before.defocus_std)
    learned = Proposal(RotationSpread(spread.mean, ratio), shift, shift_std, factor, defocus_std)
    usable = found.usable
    return _chosen(usable, learned, before)


def _spreads(proposal: Proposal, searches_defocus: bool) -> Any:
    """Return the scales of rotation, shift and defocus, (n, 3)."""
    xp = namespace_of(proposal.shift_px)
    rotation = proposal.rotation.ratio.prod(axis=1) ** (1.0 / 6.0)
    shift = proposal.shift_std_px.prod(axis=1) ** 0.5
    defocus = proposal.defocus_std if searches_defocus else xp.zeros_like(shift)
    return xp.stack([rotation, shift, defocus], axis=1)


def _replaced(proposal: Proposal, rows: Any, part: Proposal) -> Proposal:
    xp = namespace_of(proposal.shift_px)

    def put(whole: Any, some: Any) -> Any:
        changed = xp.array(whole)
        changed[rows] = some
        return changed

    return Proposal(
        RotationSpread(
            put(proposal.rotation.mean, part.rotation.mean),
            put(proposal.rotation.ratio, part.rotation.ratio),
        ),
        put(proposal.shift_px, part.shift_px),
        put(proposal.shift_std_px, part.shift_std_px),
        put(proposal.defocus_factor, part.defocus_factor),
        put(proposal.defocus_std, part.defocus_std),
    )


def _chosen(usable: Any, first: Proposal, second: Proposal) -> Proposal:
    """Return the first proposal where usable, else the second."""
    xp = namespace_of(usable)
    rows = xp.flatnonzero(~usable)
    return _replaced(first, rows, second[rows]) if len(rows) else first
