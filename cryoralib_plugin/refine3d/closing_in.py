# SPDX-License-Identifier: GPL-3.0-or-later
"""Points all over the rotations that close in on the peaks of the likelihood."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Optional, Sequence, Tuple

import numpy as np

from cryoralib_plugin.arrays import namespace_of
from cryoralib_plugin.fourier.volume import FourierVolume
from cryoralib_plugin.geometry.acg import draw_steps, log_mixture_density, ratio_of_scale
from cryoralib_plugin.geometry.rotations import multiply, normalise
from cryoralib_plugin.kernels.random import uniform

from .local_search import Search, scored, shift_prior
from .particle_data import ParticleData
from .posterior import Points, Posterior
from .resample import rows_of_counts, systematic_counts, tempered

_LEAST_EFFECTIVE = 0.2
"""Share of the points that must count while they close in."""

_MOVE_STREAM, _OWN_STREAM, _THINNING_STREAM = 4, 12, 16
"""Numbers of the first random streams: moves of points, of remembered ones, and draws from them.

Each has one for rotations and one for shifts, in every phase.
"""

_NOWHERE = 1e-300
"""Density that counts as none, and has a logarithm."""

_COPIES = 2
"""Points tried for each one that a particle remembers."""


@dataclass(frozen=True)
class Drawn:
    """Points all over the rotations and shifts, and their prior weights.

    Attributes
    ----------
    rotations, shift_px : (n, n_rotations, 4) and (n, n_shifts, 2) float64.
    log_rotation, log_shift : (n, n_rotations) and (n, n_shifts) float64, logs of prior weights.
    """

    rotations: Any
    shift_px: Any
    log_rotation: Any
    log_shift: Any

    def __getitem__(self, rows: Any) -> Drawn:
        """Return those of some particles."""
        return Drawn(
            self.rotations[rows], self.shift_px[rows], self.log_rotation[rows],
            self.log_shift[rows],
        )  # fmt: skip


@dataclass(frozen=True)
class Scanned:
    """Points of a scan, and how densely it was made.

    Attributes
    ----------
    points : those that were kept.
    n_in_all_rotations, n_in_square_px : points of the whole scan.
    """

    points: Drawn
    n_in_all_rotations: float
    n_in_square_px: float


@dataclass(frozen=True)
class Steps:
    """How far points are moved at random: degrees about each axis, and pixels."""

    rotation_deg: float
    shift_px: float

    def halved(self) -> Steps:
        """Return steps half as long."""
        return Steps(0.5 * self.rotation_deg, 0.5 * self.shift_px)


def closed_in(
    data: ParticleData,
    volume: FourierVolume,
    defocus_factor: Any,
    first: Drawn,
    sizes: Sequence[int],
    radii_px: Sequence[int],
    steps: Steps,
    search: Search,
) -> Tuple[Posterior, Steps]:
    """Return posteriors on fewer and fewer points that close in on the peaks, and their last step.

    Each phase weighs its points, draws as many as the next one has with weights tempered so that
    many count, and moves them by steps half as long, while the cut-off grows. Weights undo the draw
    a phase was made by, and none earlier: the density of the first points stays as the prior, which
    is how a particle filter remembers, and the first of three phases counts a little in the last.

    Parameters
    ----------
    data : n particles in the band of the round.
    volume : spectrum of the map.
    defocus_factor : (n,) float64.
    first : points of the first phase.
    sizes : number of rotations in each later phase.
    radii_px : exclusive cut-off of every phase.
    steps : with which the first points were moved.
    search : shared settings.
    """
    xp = namespace_of(data.spectra)
    cloud = first
    n_shifts = search.filter.n_shifts_each
    for phase, radius in enumerate(radii_px):
        points = Points(
            cloud.rotations,
            cloud.shift_px,
            defocus_factor[:, None],
            cloud.log_rotation,
            cloud.log_shift + shift_prior(cloud.shift_px, search.filter.shift_std_px),
            xp.zeros((len(data), 1)),
        )
        found = scored(data.within(data.band.lowest_px, int(radius)), volume, points)
        if phase < len(sizes):
            steps = steps.halved()
            cloud = _thinned(found, sizes[phase], n_shifts, phase, data.ids, search)
            cloud = _moved(data.ids, cloud, steps, _MOVE_STREAM + 2 * phase, search)
    return found, steps


def turned(ids: Any, rotations: Any, step_deg: float, stream: int, search: Search) -> Any:
    """Return rotations (n, n_points, 4) turned at random about the axes of their own images."""
    xp = namespace_of(rotations)
    n_points = rotations.shape[1]
    normals = search.normals(stream, ids, 4 * n_points).reshape(-1, n_points, 4)
    ratio = xp.full((len(ids), 3), ratio_of_scale(step_deg))
    return normalise(multiply(rotations, draw_steps(ratio, normals)))


def shifted(ids: Any, shift_px: Any, step_px: float, stream: int, search: Search) -> Any:
    """Return shifts (n, n_points, 2) moved at random, unless particles are not shifted at all."""
    if search.filter.shift_std_px == 0.0:
        return shift_px
    n_points = shift_px.shape[1]
    normals = search.normals(stream, ids, 2 * n_points).reshape(-1, n_points, 2)
    return shift_px + step_px * normals


def remembered_points(
    ids: Any,
    rotations: Any,
    shift_px: Any,
    steps: Steps,
    search: Search,
    scanned: Optional[Scanned] = None,
) -> Drawn:
    """Return the points of a first phase near those that particles remember, and those of a scan.

    Those are drawn from an even mixture of kernels about the remembered ones. Weights undo the
    density of all points together, so that none counts more where many were tried.

    Parameters
    ----------
    rotations : (n, n_points, 4), equally likely.
    shift_px : (n, n_shifts, 2).
    scanned : points of a scan, in the same mates.
    """
    xp = namespace_of(rotations)
    rotations, shift_px = rotations.astype(xp.float64), shift_px.astype(xp.float64)
    each = xp.repeat(rotations, _COPIES, axis=1)
    cloud = Drawn(each, shift_px, xp.zeros(each.shape[:2]), xp.zeros(shift_px.shape[:2]))
    near = _moved(ids, cloud, steps, _OWN_STREAM, search)
    ratio = ratio_of_scale(steps.rotation_deg)

    def log_rotations(points: Any) -> Any:
        return np.log(each.shape[1]) + log_mixture_density(points, rotations, ratio)

    def log_shifts(points: Any) -> Any:
        apart = ((points[:, :, None] - shift_px[:, None]) ** 2).sum(axis=-1)
        kernels = xp.exp(-0.5 * apart / steps.shift_px**2).sum(axis=-1)
        # A shift of the scan may be far from all that are remembered.
        return xp.log(xp.maximum(kernels, _NOWHERE) / (2.0 * np.pi * steps.shift_px**2))

    if scanned is None:
        return Drawn(
            near.rotations, near.shift_px, -log_rotations(near.rotations),
            -log_shifts(near.shift_px),
        )  # fmt: skip
    points = scanned.points
    rotations_of_both = xp.concatenate([points.rotations, near.rotations], axis=1)
    shifts_of_both = xp.concatenate([points.shift_px, near.shift_px], axis=1)
    # What a scan has not found counts nothing here either.
    counted = xp.concatenate([points.log_rotation, near.log_rotation], axis=1)
    dense = xp.logaddexp(np.log(scanned.n_in_all_rotations), log_rotations(rotations_of_both))
    dense_shift = xp.logaddexp(np.log(scanned.n_in_square_px), log_shifts(shifts_of_both))
    return Drawn(rotations_of_both, shifts_of_both, counted - dense, -dense_shift)


def _moved(ids: Any, cloud: Drawn, steps: Steps, stream: int, search: Search) -> Drawn:
    """Return points moved at random by steps of a given scale."""
    return Drawn(
        turned(ids, cloud.rotations, steps.rotation_deg, stream, search),
        shifted(ids, cloud.shift_px, steps.shift_px, stream + 1, search),
        cloud.log_rotation, cloud.log_shift,
    )  # fmt: skip


def _thinned(
    found: Posterior, n_rotations: int, n_shifts: int, phase: int, ids: Any, search: Search
) -> Drawn:
    """Return points drawn from a posterior.

    Their weights undo this draw, ``w^b``, and none earlier: see `closed_in`.
    """
    xp = namespace_of(found.rotations)
    stream = _THINNING_STREAM + 2 * phase
    rows, undone = _drawn_rows(found.log_rotation_weight, n_rotations, stream, ids, search)
    columns, undone_shift = _drawn_rows(found.log_shift_weight, n_shifts, stream + 1, ids, search)
    return Drawn(
        xp.take_along_axis(found.rotations, rows[..., None], axis=1),
        xp.take_along_axis(found.shift_px, columns[..., None], axis=1),
        undone,
        undone_shift,
    )


def _drawn_rows(
    log_weights: Any, n_points: int, stream: int, ids: Any, search: Search
) -> Tuple[Any, Any]:
    """Return which points a systematic resampling takes, and ``-b log w`` of these."""
    xp = namespace_of(log_weights)
    powers, exponent = tempered(log_weights, max(1.0, _LEAST_EFFECTIVE * n_points))
    offsets = uniform(search.seed, search.iteration, stream, ids, 1)[:, 0]
    rows = rows_of_counts(systematic_counts(powers, offsets, n_points), n_points)
    return rows, -exponent[:, None] * xp.take_along_axis(log_weights, rows, axis=1)
