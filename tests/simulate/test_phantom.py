# SPDX-License-Identifier: GPL-3.0-or-later
"""Phantoms and their projections against sums of Gaussians written out."""

from __future__ import annotations

import numpy as np
import pytest

from cryoralib_plugin.geometry.rigid2d import Poses2D, inverse, matrices
from cryoralib_plugin.simulate.phantom import density_map, directions, make_phantom
from cryoralib_plugin.simulate.project import Poses3D, project
from tests.reference.euler import relion_matrix


@pytest.fixture(scope="module")
def phantom():
    return make_phantom(5, diameter_angst=120.0, n_domains=5, sigma_angst=4.0)


def image_of(centres_px: np.ndarray, weights: np.ndarray, sigma_px: float, box: int) -> np.ndarray:
    y, x = np.mgrid[:box, :box] - box // 2
    image = np.zeros((box, box))
    for (cx, cy), weight in zip(centres_px, weights):
        image += weight * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * sigma_px**2))
    return image / (2 * np.pi * sigma_px**2)


def test_molecule_is_deterministic_centred_inside_its_sphere_and_does_not_cross_itself(phantom):
    again = make_phantom(5, diameter_angst=120.0, n_domains=5, sigma_angst=4.0)
    np.testing.assert_array_equal(again.positions_angst, phantom.positions_angst)
    other = make_phantom(6, diameter_angst=120.0, n_domains=5, sigma_angst=4.0)
    assert not np.array_equal(other.positions_angst[:5], phantom.positions_angst[:5])
    np.testing.assert_allclose(phantom.weights @ phantom.positions_angst, 0.0, atol=1e-9)
    assert phantom.weights.sum() == pytest.approx(1.0)
    radius = np.linalg.norm(phantom.positions_angst, axis=1)
    assert 0.75 * 48.0 < radius.max() <= 48.0 + 1e-9
    apart = np.linalg.norm(phantom.positions_angst[:, None] - phantom.positions_angst, axis=-1)
    first_of_domain = np.r_[True, np.diff(phantom.domains) > 0]
    chain = apart[~first_of_domain][:, ~first_of_domain]
    np.fill_diagonal(chain, np.inf)
    assert chain.min() > 0.7 * 2.2 * 4.0
    assert set(phantom.domains) == set(range(5))


def test_molecule_has_neither_rotation_nor_mirror_symmetry(phantom):
    # Third moments along the principal axes vanish for a mirror plane across them.
    x = phantom.positions_angst
    spread, axes = np.linalg.eigh((phantom.weights * x.T) @ x)
    assert np.diff(spread).min() > 0.05 * spread.max()
    skewness = phantom.weights @ (x @ axes / np.sqrt(spread)) ** 3
    assert np.abs(skewness).max() > 0.1


def test_projection_is_relions(phantom):
    box, pixel = 40, 4.0
    angles = np.array([[10.0, 20.0, 30.0], [-75.0, 140.0, 200.0], [0.0, 0.0, 45.0]])
    shifts = np.array([[0.0, 0.0], [2.3, -1.1], [-0.5, 3.0]])
    images = project(phantom, Poses3D(angles, shifts), box, pixel)
    for image, angle, shift in zip(images, angles, shifts):
        planar = (phantom.positions_angst @ relion_matrix(*angle).T)[:, :2] / pixel - shift
        np.testing.assert_allclose(image, image_of(planar, phantom.weights, 1.0, box), atol=1e-6)
    np.testing.assert_allclose(images.sum(axis=(1, 2)), 1.0, atol=1e-5)


def test_projection_along_z_is_the_sum_of_the_map(phantom):
    volume = density_map(phantom, 36, 4.0)
    image = project(phantom, Poses3D(np.zeros((1, 3)), np.zeros((1, 2))), 36, 4.0)[0]
    np.testing.assert_allclose(volume.sum(axis=0), image, atol=2e-7)
    np.testing.assert_allclose(volume.sum(), 1.0, atol=1e-5)


@pytest.mark.parametrize("box", [40, 41])
def test_in_plane_pose_moves_the_particle_onto_its_view_in_both_hands(phantom, box):
    view = np.array([25.0, 65.0, 0.0])
    pose = Poses2D(np.array([37.0, 37.0]), np.array([[1.5, -2.5]] * 2), np.array([False, True]))
    angles = np.array([[25.0, 65.0, 37.0], [25.0, 65.0 + 180.0, 37.0]])
    images = project(phantom, Poses3D(angles, pose.shift_px), box, 4.0)
    centres = (phantom.positions_angst @ relion_matrix(*view).T)[:, :2] / 4.0
    for image, back in zip(images, matrices(inverse(pose))):
        moved = centres @ back[:2, :2].T + back[:2, 2]
        np.testing.assert_allclose(image, image_of(moved, phantom.weights, 1.0, box), atol=1e-6)


def test_directions_are_unit_and_uniform():
    drawn = directions(np.random.default_rng(1).random((20000, 2)))
    np.testing.assert_allclose(np.linalg.norm(drawn, axis=1), 1.0)
    np.testing.assert_allclose(drawn.mean(axis=0), 0.0, atol=0.02)
    np.testing.assert_allclose(drawn.T @ drawn / len(drawn), np.eye(3) / 3, atol=0.02)
