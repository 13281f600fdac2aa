# SPDX-License-Identifier: GPL-3.0-or-later
"""Disks against SPARX's mask; the phase centre against objects put where we want them."""

from __future__ import annotations

import numpy as np
import pytest

from cryoralib_plugin.fourier.centring import phase_centre
from cryoralib_plugin.fourier.filters import fourier_shift
from cryoralib_plugin.fourier.masks import circular_mask, radius_map


def test_mask_is_the_one_sparx_makes(shared_data):
    sparx = np.load(shared_data / "oracle" / "sparx_intermediates.npz")["mask"]
    np.testing.assert_array_equal(circular_mask(90, 36), sparx.reshape(90, 90))


@pytest.mark.parametrize("box", [20, 21])
def test_mask_is_centred_and_includes_its_radius(box):
    mask = circular_mask(box, 6)
    c = box // 2
    assert mask[c, c + 6] == mask[c - 6, c] == 1.0
    assert mask[c, c + 7] == mask[c + 5, c + 4] == 0.0


def test_soft_edge_falls_from_one_to_zero_outside_the_radius():
    mask, radius = circular_mask(40, 8, 6), radius_map(40)
    np.testing.assert_array_equal(mask[radius <= 8], 1.0)
    np.testing.assert_allclose(mask[radius >= 14], 0.0, atol=1e-7)
    np.testing.assert_allclose(mask[radius == 11], 0.5, atol=1e-6)


def test_mask_refuses_a_radius_of_zero():
    with pytest.raises(ValueError, match="positive radius .* 0 px"):
        circular_mask(10, 0)


@pytest.mark.parametrize("box", [32, 33])
@pytest.mark.parametrize("centre", [(0.0, 0.0), (4.25, -7.5), (-15.0, 15.0)])
def test_phase_centre_finds_a_gaussian_and_ignores_the_background(xp, box, centre):
    blob = np.exp(-0.5 * (radius_map(box) / 2.0) ** 2)
    image = fourier_shift(blob, np.array(centre)) + 7.0
    found = np.asarray(phase_centre(xp.asarray(image)).tolist())
    np.testing.assert_allclose(found, centre, atol=1e-6)


def test_phase_centre_of_a_stack_is_x_then_y():
    image = np.zeros((2, 16, 16))
    image[0, 8, 11] = 1.0
    image[1, 5, 8] = 1.0
    np.testing.assert_allclose(phase_centre(image), [[3, 0], [0, -3]], atol=1e-12)


def test_shifting_back_by_the_phase_centre_centres():
    image = np.random.default_rng(4).random((24, 24)) ** 8
    centred = fourier_shift(image, -phase_centre(image))
    np.testing.assert_allclose(phase_centre(centred), 0.0, atol=1e-9)
