# SPDX-License-Identifier: GPL-3.0-or-later
"""Known clouds of rotations are found again; the density integrates to one."""

from __future__ import annotations

import numpy as np
import pytest

from cryoralib_plugin.geometry.acg import (
    angular_scale_deg,
    draw_steps,
    fit_covariance,
    gaussian_std_deg,
    log_mixture_density,
    ratio_of_scale,
    spread_of,
)
from cryoralib_plugin.geometry.rotations import (
    angle_between,
    from_axis_angle,
    multiply,
    normalise,
    to_rotation_vectors,
)
from cryoralib_plugin.kernels.random import normal
from tests.reference.acg_density import log_density

RATIO = np.array([0.01, 0.02, 0.04])


def normals(seed: int, n: int, xp=np):
    return normal(seed, 1, 0, xp.arange(n), 4)


def quaternion(seed: int) -> np.ndarray:
    return normalise(np.random.default_rng(seed).normal(size=4))


@pytest.fixture(scope="module")
def cloud() -> np.ndarray:
    """2 * 10^4 rotations of diag(1, RATIO) about quaternion(1)."""
    return multiply(quaternion(1), draw_steps(RATIO, normals(20, 20000)))


def test_a_cloud_is_found_again(cloud):
    found = spread_of(fit_covariance(cloud))
    np.testing.assert_allclose(found.ratio, RATIO, rtol=0.03)
    # The estimate's standard deviation: 2 sqrt(1.5 k / (1 - k)^2 / n) about each axis.
    assert angle_between(found.mean, quaternion(1)) < 3 * 0.28


def test_a_mixture_is_the_mean_of_its_densities():
    points = normalise(np.random.default_rng(5).normal(size=(30, 4)))
    centres = np.stack([quaternion(1), quaternion(2), -quaternion(3)])
    each = []
    for centre in centres:
        # S = 1 along the centre and k across it.
        covariance = 0.05 * np.eye(4) + 0.95 * np.outer(centre, centre)
        each.append(np.exp(log_density(points, covariance)))
    expected = np.log(np.mean(each, axis=0))
    # Enough clouds for several blocks.
    clouds = [np.broadcast_to(one, (50000, *one.shape)) for one in (points, centres)]
    found = log_mixture_density(*clouds, 0.05)
    np.testing.assert_allclose(found, np.broadcast_to(expected, found.shape), atol=1e-5)


def test_the_mean_of_many_rotations_is_found_to_a_tenth_of_a_degree():
    drawn = multiply(quaternion(1), draw_steps(RATIO, normals(22, 400000)))
    assert angle_between(spread_of(fit_covariance(drawn)).mean, quaternion(1)) < 0.1


def test_the_sign_of_quaternions_does_not_matter(cloud):
    signs = np.where(np.random.default_rng(2).random(len(cloud)) < 0.5, -1.0, 1.0)[:, None]
    np.testing.assert_allclose(
        fit_covariance(cloud * signs), fit_covariance(cloud), rtol=1e-12, atol=1e-14
    )


def test_uniform_rotations_have_ratios_of_one(xp):
    uniform = draw_steps(xp.ones(3), normals(5, 100000, xp))
    values = np.linalg.eigvalsh(np.asarray(fit_covariance(uniform).tolist()))
    np.testing.assert_allclose(values, 1.0, atol=0.02)


@pytest.mark.parametrize("scale", [1.0, 1e-3, 1e-6])
def test_narrow_clouds_are_found_as_well_as_wide_ones(scale):
    draws = multiply(quaternion(3), draw_steps(RATIO * scale, normals(21, 5000)))
    found = spread_of(fit_covariance(draws))
    np.testing.assert_allclose(found.ratio, RATIO * scale, rtol=0.08)


def test_many_clouds_are_fitted_as_each_alone(cloud):
    clouds = cloud.reshape(20, 1000, 4)
    weights = np.random.default_rng(4).random((20, 1000))
    together = fit_covariance(clouds, weights, tolerance=1e-9)
    for row in (0, 7, 19):
        alone = fit_covariance(clouds[row], weights[row], tolerance=1e-9)
        np.testing.assert_allclose(together[row], alone, atol=1e-7)


def test_a_weight_of_two_is_the_point_twice(cloud):
    points = cloud[:200]
    weights = np.ones(200)
    weights[:50] = 2.0
    doubled = np.concatenate([points, points[:50]])
    np.testing.assert_allclose(
        fit_covariance(points, weights, tolerance=1e-10),
        fit_covariance(doubled, tolerance=1e-10),
        atol=1e-8,
    )


@pytest.mark.parametrize("n", [1, 2, 4])
def test_too_few_points_give_a_narrow_cloud_and_no_failure(n, cloud):
    few = np.repeat(cloud[:n], 10, axis=0)
    found = spread_of(fit_covariance(few, n_iterations=50))
    assert np.isfinite(found.ratio).all() and (found.ratio >= 0).all()
    if n == 1:
        assert angle_between(found.mean, cloud[0]) < 1e-3 and found.ratio.max() < 1e-8


def test_turning_the_map_turns_the_mean_and_leaves_the_ratios(cloud):
    turn = quaternion(6)
    before, after = (spread_of(fit_covariance(q)) for q in (cloud, multiply(turn, cloud)))
    np.testing.assert_allclose(after.ratio, before.ratio, rtol=1e-3)
    assert angle_between(after.mean, multiply(turn, before.mean)) < 1e-3


def test_the_density_integrates_to_one():
    uniform = draw_steps(np.ones(3), normals(7, 100000))
    covariance = np.diag([1.0, 0.2, 0.4, 0.7]) + 0.1
    density = np.exp(log_density(uniform, covariance))
    assert density.mean() == pytest.approx(1.0, abs=4 * density.std() / 1e5**0.5)


def test_steps_are_drawn_from_the_density():
    covariance = np.diag([1.0, 0.3, 0.4, 0.5])
    drawn = draw_steps(np.array([0.3, 0.4, 0.5]), normals(8, 100000))
    weights = np.exp(-log_density(drawn, covariance))
    weights /= weights.sum()
    # Uniform rotations have E[x x^T] = 1 / 4.
    np.testing.assert_allclose(
        np.einsum("n,ni,nj->ij", weights, drawn, drawn), np.eye(4) / 4, atol=0.01
    )


def test_scale_and_standard_deviation_are_angles_about_the_axes_of_the_image():
    assert angular_scale_deg(ratio_of_scale(np.array([0.5, 3.0]))) == pytest.approx([0.5, 3.0])
    drawn = to_rotation_vectors(draw_steps(1e-4 * RATIO, normals(15, 50000)))
    half = np.median(np.abs(drawn), axis=0)
    np.testing.assert_allclose(half, angular_scale_deg(1e-4 * RATIO), rtol=0.03)
    std = np.array([1.0, 2.0, 0.5])
    vectors = np.random.default_rng(16).normal(size=(20000, 3)) * std
    tipped = from_axis_angle(vectors, np.linalg.norm(vectors, axis=1))
    found = spread_of(fit_covariance(multiply(quaternion(17), tipped)))
    np.testing.assert_allclose(gaussian_std_deg(found.ratio), std, rtol=0.02)
