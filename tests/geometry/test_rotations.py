# SPDX-License-Identifier: GPL-3.0-or-later
"""Quaternions against matrices, RELION's angles, Scipion's matrices and points turned by hand."""

from __future__ import annotations

import numpy as np
import pytest

from cryoralib_plugin.geometry.rotations import (
    angle_between,
    conjugate,
    from_alignment_matrices,
    from_axis_angle,
    from_euler,
    from_matrices,
    multiply,
    normalise,
    to_alignment_matrices,
    to_euler,
    to_matrices,
    to_rotation_vectors,
    view_directions,
)
from tests.reference.euler import relion_matrix

POLES = np.array(
    [
        [0.0, 0.0, 0.0],
        [30.0, 0.0, 40.0],
        [0.0, 180.0, 25.0],
        [70.0, 180.0, -130.0],
        [-180.0, 90.0, 179.0],
        [10.0, 1e-7, 20.0],
        [10.0, 180.0 - 1e-7, 20.0],
    ]
)


def random_rotations(seed: int, n: int = 1000) -> np.ndarray:
    return normalise(np.random.default_rng(seed).normal(size=(n, 4)))


def random_angles(seed: int, n: int = 1000) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rot, psi = rng.uniform(-180, 180, (2, n))
    drawn = np.stack([rot, np.rad2deg(np.arccos(rng.uniform(-1, 1, n))), psi], axis=1)
    return np.concatenate([drawn, POLES])


def test_matrices_of_euler_angles_are_relions(xp):
    angles = random_angles(1)
    rotations = from_euler(*(xp.asarray(column) for column in angles.T))
    found = np.asarray(to_matrices(rotations).tolist())
    expected = np.stack([relion_matrix(*row).T for row in angles])
    np.testing.assert_allclose(found, expected, atol=1e-14)


def test_a_rotation_is_written_out_from_the_equation():
    # R = I + 2 w [v] + 2 [v]^2
    for w, *v in random_rotations(2, 20):
        x, y, z = v
        cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
        expected = np.eye(3) + 2 * w * cross + 2 * cross @ cross
        np.testing.assert_allclose(to_matrices(np.array([w, x, y, z])), expected, atol=1e-14)


def test_a_quarter_turn_about_z_takes_x_to_y():
    turn = from_axis_angle(np.array([0.0, 0.0, 2.0]), 90.0)
    np.testing.assert_allclose(to_matrices(turn) @ [1, 0, 0], [0, 1, 0], atol=1e-15)
    np.testing.assert_allclose(turn, from_euler(90.0, 0.0, 0.0), atol=1e-15)


def test_product_and_inverse_are_those_of_matrices():
    a, b, c = (random_rotations(seed) for seed in (3, 4, 5))
    product = to_matrices(a) @ to_matrices(b)
    np.testing.assert_allclose(to_matrices(multiply(a, b)), product, atol=1e-14)
    np.testing.assert_allclose(multiply(multiply(a, b), c), multiply(a, multiply(b, c)), atol=1e-14)
    np.testing.assert_allclose(multiply(a, conjugate(a)), np.eye(4)[:1].repeat(1000, 0), atol=1e-14)


@pytest.mark.parametrize("dtype, tolerance", [(np.float64, 1e-12), (np.float32, 1e-6)])
def test_euler_angles_return_as_the_same_rotation(dtype, tolerance):
    rotations = from_euler(*random_angles(6).T).astype(dtype)
    rot, tilt, psi = to_euler(rotations)
    assert (tilt >= 0).all() and (tilt <= 180).all()
    again = to_matrices(from_euler(rot, tilt, psi))
    np.testing.assert_allclose(again, to_matrices(rotations), atol=tolerance)


def test_euler_angles_return_as_themselves_away_from_the_poles():
    angles = random_angles(7)[:1000]
    again = np.stack(to_euler(from_euler(*angles.T)), axis=1)
    np.testing.assert_allclose((again - angles + 180) % 360 - 180, 0.0, atol=1e-10)


def test_at_the_poles_rot_is_zero_and_psi_carries_the_turn():
    rot, tilt, psi = to_euler(from_euler(*POLES[:4].T))
    np.testing.assert_array_equal(rot, 0.0)
    np.testing.assert_allclose(tilt, [0, 0, 180, 180], atol=1e-12)
    # At tilt 180 only psi - rot counts.
    np.testing.assert_allclose((psi - [0, 70, 25, -200] + 180) % 360 - 180, 0.0, atol=1e-12)


def test_relions_branches_at_the_poles_give_the_same_angles():
    for angles in POLES[:4]:
        matrix = relion_matrix(*angles).T
        psi = to_euler(from_euler(*angles[:, None]))[2][0]
        if angles[1] == 0.0:
            expected = np.arctan2(matrix[1, 0], matrix[0, 0])
        else:
            expected = np.arctan2(matrix[0, 1], -matrix[0, 0])
        apart = (psi - np.rad2deg(expected) + 180) % 360 - 180
        assert apart == pytest.approx(0.0, abs=1e-9)


def test_matrices_return_as_the_same_quaternion_also_for_half_turns():
    half_turns = np.eye(4)[1:]
    rotations = np.concatenate([random_rotations(8), half_turns])
    np.testing.assert_allclose(from_matrices(to_matrices(rotations)), rotations, atol=1e-12)
    single = from_matrices(to_matrices(rotations.astype(np.float32)))
    np.testing.assert_allclose(single, rotations, atol=1e-6)


def test_scipions_matrices_return_with_their_shifts():
    rotations, shift = random_rotations(9), np.random.default_rng(9).normal(0, 5, (1000, 2))
    transforms = to_alignment_matrices(rotations, shift)
    again, shift_again = from_alignment_matrices(transforms)
    np.testing.assert_allclose(again, rotations, atol=1e-12)
    np.testing.assert_allclose(shift_again, shift, atol=1e-12)
    # The definition: the inverse of [A | -s], A = R^T.
    direct = np.eye(4)[None].repeat(1000, 0)
    direct[:, :3, :3] = to_matrices(rotations).transpose(0, 2, 1)
    direct[:, :2, 3] = -shift
    np.testing.assert_allclose(transforms, np.linalg.inv(direct), atol=1e-12)


def test_the_view_is_the_third_column():
    rotations = random_rotations(10)
    np.testing.assert_allclose(view_directions(rotations), to_matrices(rotations)[..., 2])
    rot, tilt, _ = np.deg2rad(np.stack(to_euler(rotations)))
    by_angles = [np.sin(tilt) * np.cos(rot), np.sin(tilt) * np.sin(rot), np.cos(tilt)]
    np.testing.assert_allclose(view_directions(rotations), np.stack(by_angles, 1), atol=1e-12)


@pytest.mark.parametrize("angle", [0.0, 1e-6, 0.5, 90.0, 179.999, 180.0])
def test_angle_between_is_the_angle_of_the_step(angle):
    first = random_rotations(11, 50)
    axes = np.random.default_rng(11).normal(size=(50, 3))
    second = multiply(first, from_axis_angle(axes, angle))
    np.testing.assert_allclose(angle_between(first, second), angle, rtol=1e-7, atol=1e-7)
    np.testing.assert_allclose(angle_between(first, -second), angle, rtol=1e-7, atol=1e-7)


def test_angle_between_takes_the_nearest_symmetry_mate():
    first = random_rotations(12, 50)
    operators = from_axis_angle(np.array([0.0, 0.0, 1.0]), np.array([0.0, 120.0, 240.0]))
    second = multiply(operators[2], multiply(first, from_axis_angle(np.eye(3)[:1], 3.0)))
    np.testing.assert_allclose(angle_between(first, second, operators), 3.0, atol=1e-9)
    assert angle_between(first, second).max() > 100


def test_rotation_vectors_are_axis_times_angle():
    axes = np.random.default_rng(13).normal(size=(200, 3))
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    angles = np.linspace(0.0, 179.0, 200)
    vectors = to_rotation_vectors(-from_axis_angle(axes, angles))
    np.testing.assert_allclose(vectors, axes * angles[:, None], atol=1e-10)


def test_what_is_no_rotation_is_refused():
    with pytest.raises(ValueError, match="determinant \\+1"):
        from_matrices(np.diag([1.0, 1.0, -1.0]))
    with pytest.raises(ValueError, match="determinant \\+1"):
        from_matrices(2 * np.eye(3))
    with pytest.raises(ValueError, match="finite and not zero .* 2 are not"):
        normalise(np.array([[0.0, 0, 0, 0], [1, 0, 0, 0], [np.nan, 0, 0, 0]]))
