# SPDX-License-Identifier: GPL-3.0-or-later
"""In-plane poses against 3 x 3 matrices, points followed by hand, and SPARX's parameters."""

from __future__ import annotations

import numpy as np
import pytest

from cryoralib_plugin.geometry.rigid2d import (
    Poses2D,
    compose,
    from_matrices,
    from_sparx,
    inverse,
    matrices,
    pixel_error,
    recentre,
    to_sparx,
    wrap_degrees,
)


def random_poses(seed: int, n: int = 200) -> Poses2D:
    rng = np.random.default_rng(seed)
    return Poses2D(rng.uniform(-180, 180, n), rng.normal(0, 5, (n, 2)), rng.random(n) < 0.5)


def assert_same(first: Poses2D, second: Poses2D) -> None:
    np.testing.assert_allclose(matrices(first), matrices(second), atol=1e-12)


def test_a_point_is_shifted_then_rotated_then_mirrored():
    pose = Poses2D(np.array([90.0]), np.array([[3.0, 0.0]]), np.array([True]))
    # (1, 0) -> shift (4, 0) -> quarter turn from +x to +y (0, 4) -> mirror (0, 4)
    np.testing.assert_allclose(matrices(pose)[0] @ [1, 0, 1], [0, 4, 1], atol=1e-12)
    # (-3, 2) -> (0, 2) -> (-2, 0) -> (2, 0)
    np.testing.assert_allclose(matrices(pose)[0] @ [-3, 2, 1], [2, 0, 1], atol=1e-12)


def test_compose_is_the_matrix_product_in_all_four_hands():
    first, second = random_poses(1), random_poses(2)
    product = matrices(second) @ matrices(first)
    np.testing.assert_allclose(matrices(compose(first, second)), product, atol=1e-12)


def test_compose_is_associative():
    a, b, c = (random_poses(seed) for seed in (3, 4, 5))
    assert_same(compose(compose(a, b), c), compose(a, compose(b, c)))


def test_inverse_undoes_from_both_sides():
    poses = random_poses(6)
    identity = Poses2D.identity(len(poses))
    assert_same(compose(poses, inverse(poses)), identity)
    assert_same(compose(inverse(poses), poses), identity)


def test_matrices_round_trip():
    poses = random_poses(7)
    back = from_matrices(matrices(poses))
    np.testing.assert_allclose(back.psi_deg, poses.psi_deg, atol=1e-9)
    np.testing.assert_allclose(back.shift_px, poses.shift_px, atol=1e-12)
    assert (back.mirror == poses.mirror).all()


def test_the_raw_offset_point_lands_on_the_centre_in_both_hands():
    poses = random_poses(8)
    offset = np.concatenate([-poses.shift_px, np.ones((len(poses), 1))], axis=1)
    landed = np.einsum("nij,nj->ni", matrices(poses), offset)
    np.testing.assert_allclose(landed[:, :2], 0.0, atol=1e-12)


def test_recentre_is_moving_the_average_afterwards():
    poses, centre = random_poses(9), np.array([1.5, -4.0])
    n = len(poses)
    move = Poses2D(np.zeros(n), np.tile(-centre, (n, 1)), np.zeros(n, dtype=bool))
    assert_same(recentre(poses, centre), compose(poses, move))
    assert_same(recentre(poses, np.tile(centre, (n, 1))), compose(poses, move))


def test_sparx_parameters_give_the_same_map_and_come_back():
    rng = np.random.default_rng(10)
    alpha, t = rng.uniform(0, 360, 50), rng.normal(0, 4, (50, 2))
    mirror = rng.random(50) < 0.5
    poses = from_sparx(alpha, t, mirror)
    point = rng.normal(0, 20, 2)
    for i in range(50):
        c, s = np.cos(np.radians(alpha[i])), np.sin(np.radians(alpha[i]))
        expected = np.array([[c, s], [-s, c]]) @ point + t[i]
        expected[0] *= -1 if mirror[i] else 1
        np.testing.assert_allclose(matrices(poses)[i, :2] @ [*point, 1], expected, atol=1e-12)
        # SPARX inverse_transform2: the raw-frame offset.
        raw = -(t[i, 0] * c - t[i, 1] * s), -(t[i, 0] * s + t[i, 1] * c)
        np.testing.assert_allclose(-poses.shift_px[i], raw, atol=1e-12)
    back = to_sparx(poses)
    np.testing.assert_allclose(back[0], alpha, atol=1e-9)
    np.testing.assert_allclose(back[1], t, atol=1e-12)
    assert (back[2] == mirror).all()


@pytest.mark.parametrize("hands", [(False, False), (True, True), (False, True)])
def test_pixel_error_is_the_rms_distance_over_the_disk(hands):
    radius = 29
    first = Poses2D(np.array([20.0]), np.array([[1.0, 2.0]]), np.array([hands[0]]))
    second = Poses2D(np.array([30.0]), np.array([[-1.0, 0.5]]), np.array([hands[1]]))
    axis = np.linspace(-radius - 0.5, radius + 0.5, 801)
    x, y = np.meshgrid(axis, axis)
    inside = np.hypot(x, y) <= radius + 0.5
    points = np.stack([x[inside], y[inside], np.ones(inside.sum())])
    moved = (matrices(first)[0] - matrices(second)[0]) @ points
    brute = np.sqrt((moved[:2] ** 2).sum(axis=0).mean())
    assert pixel_error(first, second, radius)[0] == pytest.approx(brute, rel=2e-3)


def test_pixel_error_squared_is_sparx_figure_and_zero_for_equal_poses():
    pose = Poses2D(np.array([5.0]), np.zeros((1, 2)), np.array([False]))
    other = Poses2D(np.array([10.0]), np.zeros((1, 2)), np.array([False]))
    sparx = 0.5 * ((2 * 36 + 1) * np.sin(np.radians(5.0) / 2)) ** 2
    assert pixel_error(pose, other, 36)[0] ** 2 == pytest.approx(sparx)
    assert pixel_error(pose, pose, 36)[0] == 0.0


def test_wrapped_angles_stay_below_the_upper_end():
    angles = np.array([-1e-20, 360.0, -360.0, 720.5, 359.9999999999999, -1e-300])
    wrapped = wrap_degrees(angles, 0.0)
    assert ((wrapped >= 0.0) & (wrapped < 360.0)).all()
    assert wrap_degrees(np.array([190.0]))[0] == -170.0
    assert wrap_degrees(np.array([180.0]))[0] == -180.0
