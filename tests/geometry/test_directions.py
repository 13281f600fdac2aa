# SPDX-License-Identifier: GPL-3.0-or-later
"""HEALPix pixels against their area, their symmetry and, where installed, healpy."""

from __future__ import annotations

import numpy as np
import pytest

from cryoralib_plugin.geometry.directions import (
    count_views,
    directions_of_pixels,
    n_pixels,
    n_side_for,
    pixels_of_directions,
)
from cryoralib_plugin.geometry.rotations import from_euler, normalise
from cryoralib_plugin.geometry.so3_grid import super_fibonacci
from cryoralib_plugin.geometry.symmetry import symmetry_operators

SIDES = [1, 2, 3, 4, 7, 16]


def random_directions(seed: int, n: int) -> np.ndarray:
    drawn = np.random.default_rng(seed).normal(size=(n, 3))
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


@pytest.mark.parametrize("n_side", SIDES)
def test_the_centre_of_a_pixel_lies_in_it(xp, n_side):
    centres = directions_of_pixels(n_side, xp)
    assert centres.shape == (12 * n_side**2, 3)
    np.testing.assert_allclose(np.linalg.norm(np.asarray(centres.tolist()), axis=1), 1.0)
    assert pixels_of_directions(centres, n_side).tolist() == list(range(n_pixels(n_side)))


@pytest.mark.parametrize("n_side", [1, 3, 8])
def test_pixels_have_one_area(n_side):
    n = 400000
    pixels = pixels_of_directions(random_directions(1, n), n_side)
    counts = np.bincount(pixels, minlength=n_pixels(n_side))
    expected = n / n_pixels(n_side)
    assert ((counts - expected) ** 2).sum() / expected == pytest.approx(
        n_pixels(n_side), abs=5 * np.sqrt(2 * n_pixels(n_side))
    )


def test_a_direction_is_near_the_centre_of_its_pixel():
    directions = random_directions(2, 20000)
    centres = directions_of_pixels(8)[pixels_of_directions(directions, 8)]
    # No pixel of n_side 8 reaches further than 7.5 degrees from its centre.
    assert np.rad2deg(np.arccos((directions * centres).sum(axis=1).min())) < 7.5


@pytest.mark.parametrize("n_side", [1, 2, 4, 16, 64])
def test_numbers_are_those_of_healpy(n_side):
    healpy = pytest.importorskip("healpy")
    poles = np.array([[0, 0, 1], [0, 0, -1], [1, 0, 0], [0, -1, 0], [1e-9, -1e-9, 1]])
    directions = np.concatenate([random_directions(3, 5000), poles])
    expected = healpy.vec2pix(n_side, *directions.T)
    np.testing.assert_array_equal(pixels_of_directions(directions, n_side), expected)
    centres = np.stack(healpy.pix2vec(n_side, np.arange(n_pixels(n_side))), axis=1)
    np.testing.assert_allclose(directions_of_pixels(n_side), centres, atol=1e-12)


def test_views_are_counted_where_they_look():
    rotations = from_euler(
        np.array([0.0, 0, 80]), np.array([0.5, 179.5, 90]), np.array([0.0, 9, 9])
    )
    counts = count_views(rotations, 2, weights=np.array([1.0, 2.0, 4.0]))
    assert counts.sum() == 7.0
    assert counts[:4].sum() == 1.0 and counts[-4:].sum() == 2.0
    looks = np.array([np.cos(np.deg2rad(80)), np.sin(np.deg2rad(80)), 0.0])
    assert counts[pixels_of_directions(looks, 2)] == 4.0


def test_symmetry_spreads_an_image_over_its_mates():
    rotation = normalise(np.random.default_rng(4).normal(size=(1, 4)))
    counts = count_views(rotation, 16, symmetry_operators("O"))
    assert counts.sum() == pytest.approx(1.0)
    assert np.count_nonzero(counts) == 24 and counts.max() == pytest.approx(1 / 24)


def test_even_rotations_fill_the_sphere_evenly():
    counts = count_views(super_fibonacci(48 * 400), 2)
    np.testing.assert_allclose(counts, 400, rtol=0.05)


def test_the_width_of_pixels_is_chosen_by_an_angle():
    assert n_side_for(60.0) == 1 and n_side_for(7.5) == 8 and n_side_for(3.6) == 17
    with pytest.raises(ValueError, match="must be positive, but it is 0 degrees"):
        n_side_for(0)
    with pytest.raises(ValueError, match="must be 1, 2, 3 ..., but it is 0"):
        n_pixels(0)
