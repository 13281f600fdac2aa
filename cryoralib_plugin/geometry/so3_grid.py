# SPDX-License-Identifier: GPL-3.0-or-later
"""Sets of rotations that fill all orientations evenly, of any size, with or without symmetry.

The points lie on the super-Fibonacci spiral of Alexa (CVPR 2022, 8291): as even as the best known
sets, for every size. Random points leave gaps half as wide again.
"""

from __future__ import annotations

import math
from typing import Any, Optional

import numpy as np

from .rotations import multiply
from .symmetry import to_asymmetric_unit

_PHI = math.sqrt(2.0)
_PSI = 1.533751168755204288118041
"""Positive root of psi^4 = psi + 4."""

_COVER = 1.1
_COVER_IN_UNIT = 1.3
"""Widest gaps in units of the spacing, measured with 20,000 probes on 30 to 3,000 points.

Borders, of an asymmetric unit and between both of a pair, widen gaps a little.
"""

_HALF_TURN = np.array([0.0, 0.0, 0.0, 1.0])
"""Of the image in its plane."""


def super_fibonacci(n: int) -> np.ndarray:
    """Return n rotations, (n, 4) float64, w x y z, evenly spread over all rotations.

    Point i, with ``s = i + 1/2`` and ``t = s / n``, is ``(sqrt(t) sin a, sqrt(t) cos a,
    sqrt(1 - t) sin b, sqrt(1 - t) cos b)``, ``a = 2 pi s / phi``, ``b = 2 pi s / psi``.

    Parameters
    ----------
    n : at least 1.
    """
    if n < 1:
        raise ValueError(f"a set of rotations must have at least 1 member, but {n} are asked for")
    s = np.arange(n) + 0.5
    inner, outer = np.sqrt(s / n), np.sqrt(1.0 - s / n)
    a, b = 2.0 * np.pi * s / _PHI, 2.0 * np.pi * s / _PSI
    return np.stack(
        [inner * np.sin(a), inner * np.cos(a), outer * np.sin(b), outer * np.cos(b)], axis=-1
    )


def scan_rotations(n: int, operators: np.ndarray, turn: Optional[np.ndarray] = None) -> np.ndarray:
    """Return n rotations, or n + 1, in pairs that fill the asymmetric unit of a group evenly.

    Row 2 i + 1 is row 2 i half a turn further in the plane of the image: the slice of one is the
    complex conjugate of that of the other.

    Parameters
    ----------
    n : at least 1.
    operators : (order, 4) float64, the identity first
        See `symmetry.symmetry_operators`.
    turn : (4,) float64
        A rotation of the image that turns the whole set, so that sets of different rounds
        differ; the set stays as even as it is.

    Returns
    -------
    (2 ceil(n / 2), 4) float64, w x y z.
    """
    n_pairs, order = (n + 1) // 2, len(operators)
    total = 2 * n_pairs * order
    best = _halves_of_spiral(total, operators, turn)
    # How many points are cut out of a spiral is what is wanted give or take a few: surplus ones can
    # be left out, missing ones cannot be made up.
    while len(best) < n_pairs:
        total += 2 * (n_pairs - len(best)) * order
        best = _halves_of_spiral(total, operators, turn)
    surplus = len(best) - n_pairs
    best = np.delete(best, np.linspace(0, len(best) - 1, surplus).astype(int), axis=0)
    mates = to_asymmetric_unit(multiply(best, _HALF_TURN), operators)
    return np.stack([best, mates], axis=1).reshape(-1, 4)


def spacing_deg(n: int, order: int = 1) -> float:
    """Return the mean distance of neighbours in degrees: ``(8 pi^2 / (n order))^(1/3)``.

    8 pi^2 is the volume of all rotations, lengths being angles; a group of the given order
    divides it.
    """
    return math.degrees((8.0 * math.pi**2 / (n * order)) ** (1.0 / 3.0))


def covering_radius_deg(n: int, order: int = 1) -> float:
    """Return an angle within which every rotation has a member of `scan_rotations`, degrees."""
    return spacing_deg(n, order) * (_COVER if order == 1 else _COVER_IN_UNIT)


def scan_size(
    box_size_px: int, particle_diameter_px: float, max_radius_px: float, order: int = 1
) -> int:
    """Return how many rotations a scan needs so as not to step over a peak of the score.

    Images up to radius r of a particle of diameter D change within ``N / (D r)`` radians, half the
    width of the peak; the spacing of the scan must not exceed it:
    ``n >= 8 pi^2 / (order (N / (D r))^3)``.

    Parameters
    ----------
    box_size_px : N.
    particle_diameter_px : D, pixels.
    max_radius_px : r, cut-off, Fourier pixels.
    order : of the symmetry group.
    """
    if min(box_size_px, particle_diameter_px, max_radius_px, order) <= 0:
        raise ValueError(
            "box, diameter, cut-off and order of a scan must be positive, but they are "
            f"{box_size_px} px, {particle_diameter_px} px, {max_radius_px} px and {order}"
        )
    half_width = box_size_px / (particle_diameter_px * max_radius_px)
    return max(1, math.ceil(8.0 * math.pi**2 / (order * half_width**3)))


def _halves_of_spiral(total: int, operators: Any, turn: Optional[np.ndarray]) -> np.ndarray:
    """Return one of each pair of ``total`` evenly spread rotations that lie in the unit.

    Of two that are half a turn in the plane apart, the one nearer to the identity. Where half a
    turn is an operator too, both are as near, and the sign of x tells them apart.
    """
    spiral = super_fibonacci(total)
    if turn is not None:
        spiral = multiply(spiral, turn)
    own = to_asymmetric_unit(spiral, operators)
    mate = to_asymmetric_unit(multiply(spiral, _HALF_TURN), operators)
    in_unit = np.abs((spiral * own).sum(axis=-1)) > 1.0 - 1e-9
    nearer = own[:, 0] - mate[:, 0]
    is_first = np.where(np.abs(nearer) > 1e-9, nearer, own[:, 1] - mate[:, 1]) >= 0.0
    return own[in_unit & is_first]
