# SPDX-License-Identifier: GPL-3.0-or-later
"""Scan sets have the size asked for, are even, and leave no gap wider than they say."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree

from cryoralib_plugin.geometry.rotations import from_axis_angle, multiply, normalise
from cryoralib_plugin.geometry.shift_grid import (
    chi_square_2,
    n_scan_shifts,
    scan_radius_px,
    scan_shifts,
)
from cryoralib_plugin.geometry.so3_grid import (
    covering_radius_deg,
    scan_rotations,
    scan_size,
    spacing_deg,
    super_fibonacci,
)
from cryoralib_plugin.geometry.symmetry import symmetry_operators, to_asymmetric_unit


def random_rotations(seed: int, n: int) -> np.ndarray:
    return normalise(np.random.default_rng(seed).normal(size=(n, 4)))


def nearest_deg(points: np.ndarray, operators: np.ndarray, probes: np.ndarray) -> np.ndarray:
    """Return the angle from each probe to the nearest point or mate of one."""
    mates = multiply(operators[:, None], points[None]).reshape(-1, 4)
    chord, _ = cKDTree(np.concatenate([mates, -mates])).query(probes)
    return np.rad2deg(4 * np.arcsin(chord / 2))


@pytest.mark.parametrize("n", [30, 300, 3000, 10000])
def test_no_rotation_is_further_than_the_spacing_of_a_spiral(n):
    gaps = nearest_deg(super_fibonacci(n), symmetry_operators("C1"), random_rotations(1, 30000))
    assert gaps.max() < spacing_deg(n)
    assert spacing_deg(n) < 1.3 * gaps.max(), "the bound is not tight"


def test_random_points_leave_wider_gaps():
    one, probes = symmetry_operators("C1"), random_rotations(2, 30000)
    spiral = nearest_deg(super_fibonacci(3000), one, probes)
    drawn = nearest_deg(random_rotations(3, 3000), one, probes)
    assert drawn.max() > 1.3 * spiral.max() and drawn.mean() > 1.05 * spiral.mean()


@pytest.mark.parametrize("name", ["C1", "C4", "D7", "T", "O", "I"])
@pytest.mark.parametrize("n", [50, 333, 2000])
def test_the_asymmetric_unit_is_filled_with_as_many_as_asked(name, n):
    operators = symmetry_operators(name)
    points = scan_rotations(n, operators)
    assert points.shape == (n + n % 2, 4)
    reduced = to_asymmetric_unit(points, operators)
    np.testing.assert_allclose(np.abs((points * reduced).sum(axis=1)), 1.0, atol=1e-9)
    gaps = nearest_deg(points, operators, random_rotations(4, 20000))
    assert gaps.max() < covering_radius_deg(n, len(operators))
    half_turned = multiply(points[::2], from_axis_angle(np.array([0.0, 0.0, 1.0]), 180.0))
    mates = to_asymmetric_unit(half_turned, operators)
    np.testing.assert_allclose(np.abs((points[1::2] * mates).sum(axis=1)), 1.0, atol=1e-9)


def test_a_turned_scan_is_another_set_as_even():
    operators, probes = symmetry_operators("D2"), random_rotations(5, 20000)
    turn = from_axis_angle(np.array([1.0, 2.0, 0.5]), 77.0)
    still, turned = scan_rotations(400, operators), scan_rotations(400, operators, turn)
    assert nearest_deg(still, operators, turned).max() > 3.0
    before = nearest_deg(still, operators, probes)
    after = nearest_deg(turned, operators, probes)
    assert after.max() < covering_radius_deg(400, 4)
    assert after.mean() == pytest.approx(before.mean(), rel=0.02)


def test_every_size_is_possible():
    for n in range(1, 40):
        assert len(scan_rotations(n, symmetry_operators("T"))) == n + n % 2
    np.testing.assert_allclose(np.linalg.norm(super_fibonacci(7), axis=1), 1.0)
    with pytest.raises(ValueError, match="at least 1 member, but 0"):
        super_fibonacci(0)


def test_the_scan_is_as_fine_as_the_peak_of_the_score():
    # A particle of 40 px in 64 px: 15 degrees half-width at cut-off 6, 9.2 at 10.
    for cutoff, half_width in [(6, 15.28), (10, 9.17)]:
        n = scan_size(64, 40, cutoff)
        assert spacing_deg(n) == pytest.approx(half_width, rel=1e-3)
    assert scan_size(64, 40, 10, order=24) == pytest.approx(scan_size(64, 40, 10) / 24, abs=1)
    assert spacing_deg(10000) == pytest.approx(11.4, abs=0.05)
    with pytest.raises(ValueError, match="must be positive, but they are 64 px, 0 px"):
        scan_size(64, 0, 10)


def test_numbers_of_shifts_are_thunders():
    radius = [chi_square_2(0.5) * std for std in (10, 5, 3)]
    assert [n_scan_shifts(r, 0.25) for r in radius] == [151, 38, 30]
    assert n_scan_shifts(radius[0], 1.0) == 604
    assert chi_square_2(0.5) == pytest.approx(1.386294, abs=1e-6)
    assert chi_square_2(0.05) == pytest.approx(5.991465, abs=1e-6)
    # P(|t| < 1.386 sigma) = 1 - exp(-1.386^2 / 2)
    assert 1 - np.exp(-(scan_radius_px(1.0) ** 2) / 2) == pytest.approx(0.95, abs=1e-6)


def test_shifts_fill_the_disk_evenly():
    shifts = scan_shifts(600, 14.0)
    radius = np.linalg.norm(shifts, axis=1)
    assert radius.max() < 14.0
    # As many within any radius as the area there has.
    for inner in (3.0, 7.0, 10.0):
        assert (radius < inner).sum() == pytest.approx(600 * (inner / 14) ** 2, abs=1)
    np.testing.assert_allclose(shifts.mean(axis=0), 0.0, atol=0.05)
    nearest = cKDTree(shifts).query(shifts, k=2)[0][:, 1]
    assert nearest.min() > 0.6 * np.sqrt(np.pi * 14**2 / 600)


def test_a_turned_set_of_shifts_is_the_set_turned():
    still, turned = scan_shifts(50, 5.0), scan_shifts(50, 5.0, np.pi / 2)
    np.testing.assert_allclose(turned, still[:, ::-1] * [-1, 1], atol=1e-12)


def test_impossible_sets_of_shifts_are_refused():
    with pytest.raises(ValueError, match="but 0 within 3 px"):
        scan_shifts(0, 3)
    with pytest.raises(ValueError, match="must not be negative, but it is -1 px"):
        scan_radius_px(-1)
    with pytest.raises(ValueError, match="must lie in \\(0, 1\\], but it is 0"):
        chi_square_2(0)
