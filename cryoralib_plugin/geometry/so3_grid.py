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

_COVER = 1.0
_COVER_IN_UNIT = 1.25
"""Widest gaps in units of the spacing, measured with 10^5 probes on 30 to 30,000 points.

The border of an asymmetric unit cuts the spiral, which widens gaps a little.
"""

_TRIES = 8


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
    """Return n rotations, (n, 4) float64, that fill the asymmetric unit of a group evenly.

    Parameters
    ----------
    n : at least 1.
    operators : (order, 4) float64, the identity first
        See `symmetry.symmetry_operators`.
    turn : (4,) float64
        A rotation of the image that turns the whole set, so that sets of different rounds
        differ; the set stays as even as it is.
    """
    order = len(operators)
    total, tries = n * order, 0
    best = _unit_of_spiral(total, operators)
    # How many points a unit cuts out of a spiral is n give or take a few: surplus ones can be
    # left out, so the spiral with the fewest is looked for.
    while len(best) != n and (tries < _TRIES or len(best) < n):
        tries, total = tries + 1, total + (order + 1) // 2
        other = _unit_of_spiral(total, operators)
        if len(best) < n or n <= len(other) < len(best):
            best = other
    best = np.delete(best, np.linspace(0, len(best) - 1, len(best) - n).astype(int), axis=0)
    return best if turn is None else to_asymmetric_unit(multiply(best, turn), operators)


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


def _unit_of_spiral(total: int, operators: Any) -> np.ndarray:
    """Return those of ``total`` evenly spread rotations that lie in the asymmetric unit."""
    spiral = super_fibonacci(total)
    if len(operators) == 1:
        return spiral
    inside = np.abs((spiral * to_asymmetric_unit(spiral, operators)).sum(axis=-1)) > 1.0 - 1e-9
    return spiral[inside]
