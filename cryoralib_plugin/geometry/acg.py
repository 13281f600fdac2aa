# SPDX-License-Identifier: GPL-3.0-or-later
"""The angular central Gaussian on unit quaternions: how a cloud of rotations is spread.

``p(x) = |S|^(-1/2) (x^T S^-1 x)^-2`` for unit x in four dimensions (Tyler, Biometrika 74, 579
(1987)), relative to uniform rotations; x and -x are equally likely, and S counts up to a factor.
It is what becomes of a normal vector of covariance S that is scaled to length 1.

Seen from its mean rotation m, S is nearly diagonal, and its ratios k_i = S_ii / S_00 say how far
the cloud reaches about axis i of the image: x and y tip the view, z turns it in its plane.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from cryoralib_plugin.arrays import namespace_of

from .rotations import conjugate, multiply, normalise

_SMALLEST = 1e-10
"""Added to the diagonal, so that a cloud of too few distinct points keeps an inverse."""

_GAUSSIAN_SCALE = 1.3122
"""Standard deviation of a normal cloud in units of 2 sqrt(k): the estimate weighs far points less.

The root of ``E[a c / (1 + a c)] = 3/4``, c of chi-square with 3 degrees of freedom.
"""

_DENSITIES_PER_BLOCK = 2**22
"""Single densities that are in memory at a time."""


@dataclass(frozen=True)
class RotationSpread:
    """Where clouds of rotations are and how far they reach.

    Attributes
    ----------
    mean : (..., 4) float64, w x y z, w >= 0.
    ratio : (..., 3) float64
        k about the axes x, y and z of the image; 1 where all rotations are equally likely.
    """

    mean: Any
    ratio: Any


def fit_covariance(
    rotations: Any, weights: Any = None, *, tolerance: float = 1e-3, n_iterations: int = 200
) -> Any:
    """Return the maximum-likelihood S of clouds of rotations, (..., 4, 4) float64, trace 4.

    Tyler's fixed point ``S' = 4 sum(w x x^T / u) / sum(w / u)``, ``u = x^T S^-1 x``, from S = 1.
    The sign of a quaternion does not matter. A cloud of fewer than five distinct points has no
    maximum: it comes out as narrow as 1e-10 allows.

    Parameters
    ----------
    rotations : (..., n, 4) float, unit.
    weights : (..., n) float, not negative, not all zero; None counts every point once.
    tolerance : largest relative change of any u at which to stop; 1e-3 fixes ratios to about that.
    n_iterations : at most.
    """
    xp = namespace_of(rotations)
    clouds, n_points = rotations.shape[:-2], rotations.shape[-2]
    points = rotations.astype(xp.float64).reshape(-1, n_points, 4)
    share = xp.ones(points.shape[:2])
    if weights is not None:
        share = weights.astype(xp.float64).reshape(-1, n_points)
    # With x x^T written out, u and the sum over points are both products with one matrix.
    squares = (points[..., :, None] * points[..., None, :]).reshape(-1, n_points, 16)
    found = xp.empty((len(points), 4, 4))
    # Every cloud stops by itself, so that its fit does not depend on its company.
    active, u = xp.arange(len(points)), xp.ones(points.shape[:2])
    for _ in range(n_iterations):
        pull = share / u
        moment = (pull[:, None, :] @ squares).reshape(-1, 4, 4)
        covariance = 4.0 * moment / pull.sum(axis=-1)[:, None, None] + _SMALLEST * xp.eye(4)
        found[active] = covariance
        inverse = xp.linalg.inv(covariance).reshape(-1, 16, 1)
        before, u = u, (squares @ inverse)[..., 0]
        left = xp.flatnonzero(xp.abs(u / before - 1.0).max(axis=-1) > tolerance)
        if not len(left):
            break
        if len(left) < len(active):
            active, u, share, squares = active[left], u[left], share[left], squares[left]
    return found.reshape(clouds + (4, 4))


def spread_of(covariance: Any) -> RotationSpread:
    """Return the mean rotation of S (..., 4, 4) and its ratios about the axes of the image.

    The mean is the eigenvector of the largest eigenvalue. Seen from it, ``conj(m) x = L x`` with L
    orthogonal, so the covariance there is ``L S L^T``; ratios are those of its diagonal.
    """
    xp = namespace_of(covariance)
    _, vectors = xp.linalg.eigh(covariance)
    mean = normalise(vectors[..., :, -1])
    # The columns of L are conj(m) times the unit quaternions.
    step = multiply(conjugate(mean)[..., None, :], xp.eye(4))
    seen = xp.swapaxes(step, -1, -2) @ covariance @ step
    diagonal = xp.diagonal(seen, axis1=-2, axis2=-1)
    return RotationSpread(mean, diagonal[..., 1:] / diagonal[..., :1])


def draw_steps(ratio: Any, normals: Any) -> Any:
    """Return rotations near the identity, (..., n, 4) float64, of S = diag(1, k).

    Parameters
    ----------
    ratio : (..., 3) float, k about x, y and z; (1, 1, 1) draws from all rotations evenly.
    normals : (..., n, 4) float64, standard normal draws (`kernels.random.normal`).
    """
    xp = namespace_of(ratio, normals)
    one = xp.ones_like(ratio[..., :1])
    return normalise(normals * xp.sqrt(xp.concatenate([one, ratio], axis=-1))[..., None, :])


def angular_scale_deg(ratio: Any) -> Any:
    """Return ``2 sqrt(k)`` in degrees: the scale of an angular central Gaussian about its axes.

    Twice, because a quaternion holds half the angle; for small k only. Half the draws turn by less
    than this about an axis.
    """
    xp = namespace_of(ratio)
    return xp.rad2deg(2.0 * xp.sqrt(ratio))


def log_mixture_density(rotations: Any, centres: Any, ratio: float) -> Any:
    """Return the log of an even mixture of densities of one width, (n_clouds, n) float64.

    Each is the angular central Gaussian of S = diag(1, k, k, k) about one of the centres, relative
    to uniform rotations.

    Parameters
    ----------
    rotations : (n_clouds, n, 4) float64, unit.
    centres : (n_clouds, m, 4) float64, unit.
    ratio : k.
    """
    xp = namespace_of(rotations, centres)
    density = xp.empty(rotations.shape[:2])
    step = max(1, _DENSITIES_PER_BLOCK // (rotations.shape[1] * centres.shape[1]))
    for first in range(0, len(rotations), step):
        rows = slice(first, first + step)
        form = rotations[rows] @ xp.swapaxes(centres[rows], -1, -2)
        form *= form
        form *= 1.0 - 1.0 / ratio
        form += 1.0 / ratio
        # 1 beside a centre, but for rounding.
        xp.maximum(form, 1.0, out=form)
        form *= form
        density[rows] = (1.0 / form).mean(axis=-1)
    return xp.log(density) - 1.5 * np.log(ratio)


def gaussian_std_deg(ratio: Any) -> Any:
    """Return the standard deviation, degrees, of a normal cloud whose fit has the ratio k.

    The angular central Gaussian has longer tails than a normal distribution, so a normal cloud of
    the same fit is wider than `angular_scale_deg` by a constant.
    """
    return _GAUSSIAN_SCALE * angular_scale_deg(ratio)


def ratio_of_scale(scale_deg: Any) -> Any:
    """Return k of an angular scale in degrees: the inverse of `angular_scale_deg`."""
    return (np.pi / 360.0 * scale_deg) ** 2
