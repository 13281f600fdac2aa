# SPDX-License-Identifier: GPL-3.0-or-later
"""Blobs put where a rotation should take them; symmetry found where it is."""

from __future__ import annotations

import numpy as np
import pytest

from cryoralib_plugin.geometry.map_symmetry import symmetrise_map, symmetry_agreement, turn_map
from cryoralib_plugin.geometry.rotations import from_axis_angle, normalise, to_matrices
from cryoralib_plugin.geometry.symmetry import symmetry_operators

BOX = 32


def blobs(centres: np.ndarray, box: int = BOX) -> np.ndarray:
    """Return Gaussians at (n, 3) positions x, y, z from voxel N // 2."""
    z, y, x = np.indices((box,) * 3) - box // 2
    return sum(
        weight * np.exp(-0.5 * ((x - a) ** 2 + (y - b) ** 2 + (z - c) ** 2) / 2.0**2)
        for weight, (a, b, c) in enumerate(centres, start=1)
    )


CENTRES = np.array([[6.0, 1.0, 0.0], [0.0, 5.0, -4.0], [-3.0, -2.0, 6.0]])


def test_a_quarter_turn_about_z_brings_y_to_x():
    turned = turn_map(blobs(CENTRES[:1]), from_axis_angle(np.array([0, 0, 1.0]), 90.0))
    # W(x) = V(R x): the blob at (6, 1, 0) is seen at R^T (6, 1, 0) = (1, -6, 0).
    place = np.array(np.unravel_index(turned.argmax(), turned.shape)) - BOX // 2
    assert place.tolist() == [0, -6, 1]


@pytest.mark.parametrize("box", [32, 33])
def test_any_rotation_moves_blobs_by_its_transpose(box):
    rotation = normalise(np.random.default_rng(1).normal(size=4))
    found = turn_map(blobs(CENTRES, box), rotation)
    expected = blobs(CENTRES @ to_matrices(rotation), box)
    np.testing.assert_allclose(found, expected, atol=0.01 * expected.max())


@pytest.mark.parametrize("name", ["C4", "D3", "T", "O", "I"])
def test_a_symmetrised_map_agrees_with_its_group_only(name):
    volume = blobs(CENTRES)
    symmetric = symmetrise_map(volume, symmetry_operators(name))
    assert symmetry_agreement(symmetric, symmetry_operators(name)) > 0.9
    assert symmetry_agreement(volume, symmetry_operators(name)) < 0.5
    assert symmetry_agreement(symmetric, symmetry_operators("C7")) < 0.75


def test_symmetrising_twice_is_symmetrising_once():
    once = symmetrise_map(blobs(CENTRES), symmetry_operators("D3"))
    twice = symmetrise_map(once, symmetry_operators("D3"))
    np.testing.assert_allclose(twice, once, atol=0.03 * once.max())


def test_a_map_off_centre_does_not_agree():
    symmetric = symmetrise_map(blobs(CENTRES), symmetry_operators("C4"))
    assert symmetry_agreement(np.roll(symmetric, 3, axis=2), symmetry_operators("C4")) < 0.8


def test_every_map_agrees_with_no_symmetry():
    assert symmetry_agreement(blobs(CENTRES), symmetry_operators("C1")) == 1.0
    with pytest.raises(ValueError, match="the same at all angles"):
        symmetry_agreement(np.ones((8, 8, 8)), symmetry_operators("C2"))


def test_a_map_on_the_device_is_refused():
    class OnDevice:
        __cuda_array_interface__: dict = {}

    with pytest.raises(TypeError, match="turned on the host"):
        turn_map(OnDevice(), np.array([1.0, 0, 0, 0]))
