# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters, shifts and crops against closed forms and against analytically sampled objects."""

from __future__ import annotations

import numpy as np
import pytest

from cryoralib_plugin.fourier.filters import (
    apply_filter,
    bandpass,
    fit_tanh,
    fourier_crop,
    fourier_shift,
    tanh_lowpass,
    tanh_profile,
)
from cryoralib_plugin.fourier.transform import radial_frequency


def blobs(box: int, pixel_size: float = 1.0, shift=(0.0, 0.0)) -> np.ndarray:
    """Sum of Gaussians sampled at pixel centres; nothing is interpolated."""
    axis = (np.arange(box) - box // 2) * pixel_size
    image = np.zeros((box, box))
    for x, y, sigma, height in [(3.2, -4.1, 2.5, 1.0), (-6.0, 1.3, 3.0, 0.7), (0.5, 7.7, 2.2, 0.4)]:
        gx = np.exp(-0.5 * ((axis - x - shift[0]) / sigma) ** 2)
        gy = np.exp(-0.5 * ((axis - y - shift[1]) / sigma) ** 2)
        image += height * gy[:, None] * gx[None, :]
    return image


@pytest.mark.parametrize("box", [32, 33])
def test_whole_pixel_shift_is_a_roll(xp, box):
    image = np.random.default_rng(1).normal(size=(2, box, box))
    shifted = fourier_shift(xp.asarray(image), xp.asarray([[3, -5], [-1, 2]]))
    expected = np.stack(
        [np.roll(image[0], (-5, 3), axis=(0, 1)), np.roll(image[1], (2, -1), axis=(0, 1))]
    )
    np.testing.assert_allclose(np.asarray(shifted.tolist()), expected, atol=1e-12)


@pytest.mark.parametrize("box", [48, 49])
def test_fractional_shift_moves_content_towards_plus_x_and_plus_y(box):
    moved = fourier_shift(blobs(box), np.array([1.3, -2.6]))
    np.testing.assert_allclose(moved, blobs(box, shift=(1.3, -2.6)), atol=1e-6)


def test_shift_keeps_single_precision():
    assert fourier_shift(blobs(32).astype(np.float32), np.array([0.5, 0.5])).dtype == np.float32


@pytest.mark.parametrize("box, new", [(64, 48), (64, 47), (65, 48), (65, 47), (63, 44), (48, 48)])
def test_crop_samples_the_same_object_at_coarser_pixels(box, new):
    expected = blobs(new, pixel_size=box / new)
    np.testing.assert_allclose(fourier_crop(blobs(box), new), expected, atol=2e-5)


def test_crop_keeps_the_mean_and_a_constant():
    image = np.random.default_rng(2).normal(size=(3, 40, 40))
    np.testing.assert_allclose(
        fourier_crop(image, 26).mean(axis=(1, 2)), image.mean(axis=(1, 2)), atol=1e-12
    )
    np.testing.assert_allclose(fourier_crop(np.full((21, 21), 2.5), 16), 2.5, atol=1e-12)


def test_crop_keeps_the_mean_of_both_signs_at_the_new_nyquist_frequency():
    # Sampling the wave would add them: this is the half-weighted edge of the low-pass.
    box, new = 16, 8
    x = np.arange(box) - box // 2
    for axis_order in ((0, 1), (1, 0)):
        wave = np.cos(2 * np.pi * x * (new // 2) / box + 0.3)
        image = np.transpose(np.broadcast_to(wave, (box, box)), axis_order)
        coarse = 0.5 * np.cos(np.pi * (np.arange(new) - new // 2)) * np.cos(0.3)
        expected = np.transpose(np.broadcast_to(coarse, (new, new)), axis_order)
        np.testing.assert_allclose(fourier_crop(image, new), expected, atol=1e-12)


def test_crop_refuses_to_grow():
    with pytest.raises(ValueError, match="between 2 and 16 px, but it is 20 px"):
        fourier_crop(np.zeros((16, 16)), 20)


def test_tanh_filter_has_the_closed_form_values():
    cutoff, falloff = 0.2, 0.1
    kappa = np.pi / (2 * falloff * cutoff)
    profile = tanh_profile(np.array([0.0, cutoff]), cutoff, falloff)
    np.testing.assert_allclose(
        profile, [np.tanh(kappa * cutoff), 0.5 * np.tanh(2 * kappa * cutoff)], rtol=1e-12
    )


@pytest.mark.parametrize("box", [48, 49])
def test_filters_depend_on_the_radius_only(xp, box):
    radius = np.round(radial_frequency(box), 12)
    for response in (
        tanh_lowpass(box, 0.21, 0.15, xp),
        bandpass(box, 2.0, highpass_angst=50.0, lowpass_angst=7.0, xp=xp),
    ):
        values = np.asarray(response.tolist())
        order = np.argsort(radius, axis=None)
        same = np.diff(radius.ravel()[order]) == 0.0
        assert np.abs(np.diff(values.ravel()[order])[same]).max() < 1e-6


def test_bandpass_is_half_at_its_limits_whatever_the_box():
    for box in (60, 120):
        response = bandpass(box, 2.0, highpass_angst=40.0, lowpass_angst=8.0)
        side = box * 2.0
        column = response[0]
        assert column[round(side / 40.0)] == pytest.approx(0.5, abs=1e-6)
        assert column[round(side / 8.0)] == pytest.approx(0.5, abs=1e-6)
        assert column[round(side / 15.0)] == 1.0
        assert column[0] == 0.0
        assert column[-1] == 0.0


def test_bandpass_with_no_limits_changes_nothing():
    image = np.random.default_rng(3).normal(size=(20, 20))
    np.testing.assert_allclose(apply_filter(image, bandpass(20, 1.0)), image, atol=1e-12)


def test_bandpass_refuses_an_empty_band():
    with pytest.raises(ValueError, match="nothing is left between them"):
        bandpass(32, 1.0, highpass_angst=10.0, lowpass_angst=20.0)


def test_fit_tanh_recovers_the_filter_behind_a_curve():
    frequency = np.linspace(0, 0.5, 46)
    for cutoff, falloff in [(0.15, 0.2), (0.25, 0.1), (0.3, 0.3)]:
        target = tanh_profile(frequency, cutoff, falloff)
        curve = target / (2 - target)
        fitted = fit_tanh(curve)
        # The tail below 0.1 is cut, so the edge comes out a little steeper.
        assert fitted[0] == pytest.approx(cutoff, rel=0.03)
        assert fitted[1] == pytest.approx(falloff, rel=0.3)


def test_fit_tanh_of_perfect_and_of_hopeless_curves():
    assert fit_tanh(np.ones(46)) == (0.4, 0.2)
    cutoff, falloff = fit_tanh(np.concatenate([[1.0], np.zeros(45)]))
    assert 0.0 < cutoff < 0.1 and falloff > 0.0
    cutoff, falloff = fit_tanh(np.full(46, -1.0))
    assert cutoff > 0.0 and falloff > 0.0
