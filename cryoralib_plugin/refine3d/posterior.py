# SPDX-License-Identifier: GPL-3.0-or-later
"""Weighted support points: what the likelihood says about poses of particles in one class."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Tuple

from cryoralib_plugin.arrays import namespace_of
from cryoralib_plugin.geometry.acg import RotationSpread, fit_covariance, spread_of

from .resample import n_effective, tempered

_LEAST_SHARE = 0.08
"""Share of the points that must count where a width is read off them."""

_SMALLEST_MASS = 1e-30
"""Masses below this have lost terms to the range of numbers: their largest term stands for them."""

_TOLERANCE, _ITERATIONS = 1e-2, 20
"""Of the widths of a cloud, relative: far below their error from a hundred points."""


def spread_of_points(rotations: Any, weights: Any = None) -> RotationSpread:
    """Return mean rotations and ratios about the axes of the image of clouds (n, n_points, 4)."""
    covariance = fit_covariance(rotations, weights, tolerance=_TOLERANCE, n_iterations=_ITERATIONS)
    return spread_of(covariance)


@dataclass(frozen=True)
class Points:
    """Support points of n particles and the logarithms of the prior weights of each.

    Attributes
    ----------
    rotations : (n, n_rotations, 4) float64.
    shift_px : (n, n_shifts, 2) float64.
    defocus_factor : (n, n_defoci) float64.
    log_rotation, log_shift, log_defocus : float64, without the last axis of the points.
    """

    rotations: Any
    shift_px: Any
    defocus_factor: Any
    log_rotation: Any
    log_shift: Any
    log_defocus: Any


@dataclass(frozen=True)
class Posterior:
    """Support points of n particles with their weights; weights add up to 1 over each axis.

    Weights are kept as logarithms: of images with little noise, all but one weight of a cloud that
    is still wide are too small for a number, and yet tell which points are better.

    Attributes
    ----------
    rotations, shift_px, defocus_factor : as in :class:`Points`.
    log_rotation_weight : (n, n_rotations) float64, marginal over shifts and defoci.
    log_shift_weight : (n, n_shifts) float64.
    log_defocus_weight : (n, n_defoci) float64.
    best_score : (n,) float64, largest log-likelihood among the points.
    usable : (n,) bool, False where nothing finite came out.
    """

    rotations: Any
    shift_px: Any
    defocus_factor: Any
    log_rotation_weight: Any
    log_shift_weight: Any
    log_defocus_weight: Any
    best_score: Any
    usable: Any

    @property
    def rotation_weight(self) -> Any:
        """(n, n_rotations) float64, sum 1."""
        return _exponential(self.log_rotation_weight)

    @property
    def shift_weight(self) -> Any:
        """(n, n_shifts) float64, sum 1."""
        return _exponential(self.log_shift_weight)

    @property
    def defocus_weight(self) -> Any:
        """(n, n_defoci) float64, sum 1."""
        return _exponential(self.log_defocus_weight)

    def __getitem__(self, rows: Any) -> Posterior:
        """Return those of some particles."""
        return Posterior(*(getattr(self, field.name)[rows] for field in fields(self)))

    def put(self, rows: Any, other: Posterior) -> None:
        """Replace those of some particles, in place."""
        for field in fields(self):
            getattr(self, field.name)[rows] = getattr(other, field.name)

    def spread_out(self, rows: Any, n: int) -> Posterior:
        """Return n posteriors: these in the given rows, unusable ones elsewhere."""
        xp = namespace_of(self.rotations)
        whole = Posterior(
            *(
                xp.zeros((n, *getattr(self, field.name).shape[1:]), getattr(self, field.name).dtype)
                for field in fields(self)
            )
        )
        whole.put(rows, self)
        return whole

    def rotation_spread(self) -> RotationSpread:
        """Return the mean rotation and the ratios about the axes of the image."""
        return spread_of_points(self.rotations, spreading_weights(self.log_rotation_weight))

    def shift_moments(self) -> Tuple[Any, Any]:
        """Return mean and standard deviation of the shifts, (n, 2) each, px."""
        return moments(self.shift_px, spreading_weights(self.log_shift_weight)[..., None])

    def defocus_moments(self) -> Tuple[Any, Any]:
        """Return mean and standard deviation of the defocus factors, (n,) each."""
        return moments(self.defocus_factor, spreading_weights(self.log_defocus_weight))

    @property
    def is_starved(self) -> Any:
        """(n,) bool, whether too few points count to say how wide the posterior is."""
        xp = namespace_of(self.usable)
        starved = xp.zeros(self.usable.shape, dtype=bool)
        for weights in (self.rotation_weight, self.shift_weight, self.defocus_weight):
            n_points = weights.shape[1]
            if n_points > 1:
                starved |= n_effective(weights) < _least_effective(n_points)
        return starved

    def best_rotation(self) -> Any:
        """Return the heaviest rotation, (n, 4)."""
        xp = namespace_of(self.rotations)
        return self.rotations[xp.arange(len(self.rotations)), self.rotation_weight.argmax(axis=1)]


def moments(values: Any, weights: Any) -> Tuple[Any, Any]:
    """Return weighted means and standard deviations over axis 1."""
    xp = namespace_of(values)
    mean = (weights * values).sum(axis=1)
    variance = (weights * (values - mean[:, None]) ** 2).sum(axis=1)
    return mean, xp.sqrt(variance)


def spreading_weights(log_weights: Any) -> Any:
    """Return weights (n, n_points) of which enough count to have a width, sum 1.

    Where one point outweighs all others its cloud has no width of its own, only that of what it
    was drawn from: weights are tempered until a few points count. Otherwise they stay.
    """
    n_points = log_weights.shape[1]
    if n_points == 1:
        return _exponential(log_weights)
    return tempered(log_weights, _least_effective(n_points))[0]


def _least_effective(n_points: int) -> float:
    return min(max(4.0, _LEAST_SHARE * n_points), 0.5 * n_points)


def weigh(points: Points, scores: Any) -> Posterior:
    """Return the marginal weights of support points.

    ``w(i) = sum_jm exp(l(i, j, m) + log priors)`` and alike for shifts and defoci.

    Parameters
    ----------
    points : with prior weights.
    scores : (n, n_rotations, n_shifts, n_defoci) float32, log-likelihoods.
    """
    xp = namespace_of(scores)
    n = len(scores)
    # In the precision of the scores: there are many.
    rotation, shift, defocus = (
        prior.astype(xp.float32)
        for prior in (points.log_rotation, points.log_shift, points.log_defocus)
    )
    log_mass = scores + rotation[:, :, None, None]
    log_mass += shift[:, None, :, None]
    log_mass += defocus[:, None, None, :]
    highest = log_mass.reshape(n, -1).max(axis=1)
    usable = xp.isfinite(highest)
    log_mass -= xp.where(usable, highest, 0.0)[:, None, None, None]
    log_mass = xp.where(usable[:, None, None, None], log_mass, 0.0)
    mass = xp.exp(log_mass)
    whole = xp.log(mass.reshape(n, -1).sum(axis=1, dtype=xp.float64))[:, None]
    best = scores.reshape(n, -1).max(axis=1).astype(xp.float64)
    rotation, shift, defocus = (
        _log_sum(mass, log_mass, others) - whole for others in ((2, 3), (1, 3), (1, 2))
    )
    return Posterior(
        points.rotations,
        points.shift_px,
        points.defocus_factor,
        rotation,
        shift,
        defocus,
        xp.where(usable, best, 0.0),
        usable,
    )


def _log_sum(mass: Any, log_mass: Any, axes: Tuple[int, int]) -> Any:
    """Return ``ln sum exp(log_mass)`` over two axes, also where ``mass = exp(log_mass)`` is 0."""
    xp = namespace_of(mass)
    total = mass.sum(axis=axes, dtype=xp.float64)
    sums = xp.log(xp.maximum(total, _SMALLEST_MASS))
    if bool((total > _SMALLEST_MASS).all()):
        return sums
    return xp.where(total > _SMALLEST_MASS, sums, log_mass.max(axis=axes))


def _exponential(values: Any) -> Any:
    return namespace_of(values).exp(values)
