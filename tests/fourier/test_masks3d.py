# SPDX-License-Identifier: GPL-3.0-or-later
"""Spheres by their equation; automatic masks around molecules of known outline."""

from __future__ import annotations

import numpy as np
import pytest

from cryoralib_plugin.fourier.masks3d import (
    automatic_mask,
    check_mask,
    distance_map,
    soft_sphere,
    soften,
)

BOX = 48


def molecule(seed: int = 1) -> np.ndarray:
    """Return an ellipsoid beside a small ball, of density 1, as (N, N, N) bool."""
    z, y, x = np.indices((BOX,) * 3) - BOX // 2
    body = (x / 12) ** 2 + (y / 7) ** 2 + (z / 7) ** 2 < 1
    return body | ((x - 3) ** 2 + (y - 9) ** 2 + z**2 < 16)


def noisy(seed: int, level: float) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=(BOX,) * 3)
    return (molecule() + level * noise).astype(np.float32)


@pytest.mark.parametrize("box", [20, 21])
def test_a_sphere_falls_as_a_raised_cosine(xp, box):
    mask = np.asarray(soft_sphere(box, 4.0, 4.0, xp).tolist())
    radius = distance_map(box)
    c = box // 2
    np.testing.assert_array_equal(mask[radius <= 4], 1.0)
    np.testing.assert_allclose(mask[radius >= 8], 0.0, atol=1e-7)
    expected = [0.5 + 0.5 * np.cos(np.pi * (r - 4) / 4) for r in range(4, 9)]
    np.testing.assert_allclose(mask[c, c, c + 4 : c + 9], expected, atol=1e-6)
    np.testing.assert_allclose(mask[c - 6, c, c], 0.5, atol=1e-6)


def test_a_hard_sphere_has_the_volume_of_a_ball():
    assert soft_sphere(40, 15, 0).sum() == pytest.approx(4 / 3 * np.pi * 15**3, rel=0.01)


def test_a_region_is_extended_and_then_softened():
    inside = np.zeros((21,) * 3, dtype=bool)
    inside[10, 10, 10] = True
    np.testing.assert_allclose(soften(inside, 3.0, 4.0), soft_sphere(21, 3.0, 4.0), atol=1e-6)


@pytest.mark.parametrize("level", [0.05, 0.5, 1.0])
def test_an_automatic_mask_follows_the_molecule(level):
    mask = automatic_mask(noisy(2, level), 3.0, radius_px=18, extend_px=2.0, soft_edge_px=4.0)
    assert mask.dtype == np.float32 and mask.min() == 0.0 and mask.max() == 1.0
    truth = molecule()
    assert mask[truth].mean() > 0.99
    # Within extension, edge and the blur of the filter of the molecule, nowhere else.
    assert (mask[soften(truth, 10.0, 0.0) == 0] == 0).all()
    assert (mask > 0.5).sum() < 0.6 * (distance_map(BOX) <= 18).sum()


def test_a_mask_does_not_depend_on_the_grey_scale():
    plain = automatic_mask(noisy(3, 0.3), 3.0, radius_px=18)
    scaled = automatic_mask(1000 * noisy(3, 0.3) - 500, 3.0, radius_px=18)
    np.testing.assert_allclose(scaled, plain, atol=1e-3)


def test_specks_of_noise_are_left_out():
    volume = noisy(4, 0.05)
    volume[6:9, 22:25, 22:25] = 1.0
    mask = automatic_mask(volume, 3.0, radius_px=20, lowpass_angst=7.0, extend_px=2.0)
    assert mask[6, 23, 23] == 0.0


def test_maps_without_a_molecule_are_refused():
    with pytest.raises(ValueError, match="nothing in the map stands out"):
        automatic_mask(-noisy(5, 0.1), 3.0, radius_px=18)
    with pytest.raises(ValueError, match="nothing in the map stands out"):
        automatic_mask(np.zeros((BOX,) * 3), 3.0, radius_px=18)
    with pytest.raises(ValueError, match="a radius of 60 px leaves none in a box of 48 px"):
        automatic_mask(noisy(6, 0.1), 3.0, radius_px=60)
    with pytest.raises(ValueError, match="region to be masked is empty"):
        soften(np.zeros((4,) * 3, dtype=bool), 1, 1)


def test_what_is_no_mask_is_refused():
    check_mask(np.full((4,) * 3, 1.0005), 4)
    with pytest.raises(ValueError, match="6 px in each direction, but its shape is \\(4, 4, 4\\)"):
        check_mask(np.ones((4,) * 3), 6)
    with pytest.raises(ValueError, match="between 0 and 1, but they reach from -2 to 3"):
        check_mask(np.linspace(-2, 3, 64).reshape(4, 4, 4), 4)
    with pytest.raises(ValueError, match="between 0 and 1"):
        check_mask(np.full((4,) * 3, np.nan), 4)
    with pytest.raises(ValueError, match="the mask is 0 everywhere"):
        check_mask(np.zeros((4,) * 3), 4)
    with pytest.raises(ValueError, match="positive radius, but it is 0 px"):
        soft_sphere(8, 0, 2)
    with pytest.raises(ValueError, match="must not be negative, but it is -1 px"):
        soft_sphere(8, 2, -1)


def test_masks_are_drawn_on_the_host():
    class OnDevice:
        __cuda_array_interface__: dict = {}
        ndim, shape = 3, (4, 4, 4)

    with pytest.raises(TypeError, match="drawn on the host"):
        soften(OnDevice(), 1, 1)
    with pytest.raises(TypeError, match="drawn on the host"):
        automatic_mask(OnDevice(), 3.0, radius_px=1)
