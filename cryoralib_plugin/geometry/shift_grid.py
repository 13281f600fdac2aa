# SPDX-License-Identifier: GPL-3.0-or-later
"""Sets of shifts that fill a disk evenly."""

from __future__ import annotations

import math

import numpy as np

_GOLDEN_ANGLE = math.pi * (3.0 - math.sqrt(5.0))
_FEWEST = 30


def chi_square_2(upper_tail: float) -> float:
    """Return what chi-square with two degrees of freedom exceeds with a probability: -2 ln p.

    Of the squared length of a shift with unit variance on each axis: 1.386294 for one half,
    5.991465 for 0.05.
    """
    if not 0.0 < upper_tail <= 1.0:
        raise ValueError(f"a probability must lie in (0, 1], but it is {upper_tail}")
    return -2.0 * math.log(upper_tail)


def n_scan_shifts(radius_px: float, density: float) -> int:
    """Return the number of shifts in a scan of a disk: ``pi R^2 density``, at least 30.

    Parameters
    ----------
    radius_px : R.
    density : shifts for each square pixel; THUNDER's demonstrations have 0.25.
    """
    return max(_FEWEST, round(math.pi * radius_px**2 * density))


def scan_radius_px(shift_std_px: float) -> float:
    """Return the radius of the disk that holds 95 % of the shifts of a normal distribution, px.

    ``sqrt(5.99)`` = 2.45 times the standard deviation on each axis. THUNDER scans chi-square's
    median times it, 1.39, which leaves 38 % of the shifts outside, to be reached by perturbation
    or not at all.
    """
    if shift_std_px < 0.0:
        raise ValueError(
            f"the standard deviation of shifts must not be negative, but it is {shift_std_px} px"
        )
    return math.sqrt(chi_square_2(0.05)) * shift_std_px


def scan_shifts(n: int, radius_px: float, turn_rad: float = 0.0) -> np.ndarray:
    """Return n shifts, (n, 2) float64, x and y, pixels, spread evenly over a disk.

    Vogel's sunflower: point i at radius ``R sqrt((i + 1/2) / n)`` and angle i times the golden
    angle, so every point has the same area.

    Parameters
    ----------
    n : at least 1.
    radius_px : R.
    turn_rad : turns the whole set, so that sets of different rounds differ.
    """
    if n < 1 or radius_px < 0.0:
        raise ValueError(
            "a set of shifts needs at least 1 member and a radius that is not negative, but "
            f"{n} within {radius_px} px are asked for"
        )
    i = np.arange(n)
    radius, angle = radius_px * np.sqrt((i + 0.5) / n), i * _GOLDEN_ANGLE + turn_rad
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)
