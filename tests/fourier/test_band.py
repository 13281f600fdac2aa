# SPDX-License-Identifier: GPL-3.0-or-later
"""The band lists every independent Fourier term once, about the centre of the image."""

from __future__ import annotations

import numpy as np
import pytest

from cryoralib_plugin.fourier.band import (
    FourierBand,
    band_images,
    band_spectra,
    band_values,
    mean_shift_phases,
    shift_phases,
)


@pytest.mark.parametrize(("box", "low", "high"), [(16, 0, 7), (17, 2, 8), (24, 3, 11)])
def test_terms_are_those_of_a_brute_force_count(box, low, high):
    band = FourierBand.between(box, low, high)
    wanted = [
        (x, y)
        for y in range(-box, box)
        for x in range(box)
        if low**2 <= x * x + y * y < high**2 and (x > 0 or y >= 0)
    ]
    assert list(zip(band.kx, band.ky)) == wanted
    np.testing.assert_array_equal(band.shell, np.rint(np.hypot(*np.array(wanted).T)))


def test_parseval(xp):
    band = FourierBand.between(20, 0, 8)
    images = band_images(band_spectra(_images(xp, 20), band), band)
    spectra = band_spectra(images, band)
    power = 2 * (abs(spectra) ** 2).sum(axis=-1) - abs(spectra[:, _origin(band)]) ** 2
    energy = 20**2 * (images**2).sum(axis=(-2, -1))
    assert float(abs(power / energy - 1).max()) < 1e-5


@pytest.mark.parametrize("box", [16, 17])
def test_spectra_are_sums_about_the_centre(xp, box):
    band = FourierBand.between(box, 1, 6)
    images = _images(np, box)
    axis = np.arange(box) - box // 2
    kernel_x = np.exp(-2j * np.pi * np.outer(band.kx, axis) / box)
    kernel_y = np.exp(-2j * np.pi * np.outer(band.ky, axis) / box)
    expected = np.einsum("ky,kx,nyx->nk", kernel_y, kernel_x, images, optimize=True)
    found = band_spectra(xp.asarray(images), band)
    np.testing.assert_allclose(_host(found), expected, atol=2e-4)
    assert found.dtype == np.complex64


def test_a_pose_shift_displaces_the_content_the_other_way(xp):
    box = 16
    band = FourierBand.between(box, 0, 7)
    point = np.zeros((1, box, box), np.float32)
    point[0, 9, 5] = 1.0
    shifted = band_spectra(xp.asarray(point), band) * shift_phases(xp.asarray([[3.0, -2.0]]), band)
    image = _host(band_images(shifted, band))[0]
    assert np.unravel_index(image.argmax(), image.shape) == (9 + 2, 5 - 3)


def test_mean_phases_are_the_means_of_phases(xp):
    band, rng = FourierBand.between(16, 1, 7), np.random.default_rng(2)
    shift_px, weight = rng.normal(scale=2.0, size=(3, 5, 2)), rng.uniform(size=(3, 5))
    angle = shift_px @ np.stack([band.kx, band.ky]) * (2.0 * np.pi / 16)
    expected = (weight[..., None] * np.exp(1j * angle)).sum(axis=1)
    found = mean_shift_phases(xp.asarray(shift_px), xp.asarray(weight), band)
    assert found.dtype == np.complex64
    np.testing.assert_allclose(_host(found), expected, atol=2e-6)


def test_values_are_gathered(xp):
    band = FourierBand.between(12, 0, 5)
    half = np.arange(2 * 12 * 7, dtype=np.float32).reshape(2, 12, 7)
    expected = np.array([[plane[y, x] for x, y in zip(band.kx, band.ky)] for plane in half])
    np.testing.assert_array_equal(_host(band_values(xp.asarray(half), band)), expected)


def test_bad_bands_are_refused():
    with pytest.raises(ValueError, match="end at 7 Fourier px at most, but it goes from 0 to 8"):
        FourierBand.between(16, 0, 8)
    with pytest.raises(ValueError, match="from 5 to 5"):
        FourierBand.between(16, 5, 5)
    with pytest.raises(ValueError, match="box of 16 px, but the spectra to one of 18"):
        band_values(np.zeros((18, 10)), FourierBand.between(16, 0, 5))


def _images(xp, box):
    return xp.asarray(np.random.default_rng(2).normal(size=(3, box, box)).astype(np.float32))


def _origin(band):
    return int(np.flatnonzero((band.kx == 0) & (band.ky == 0))[0])


def _host(array):
    return np.asarray(array.get() if hasattr(array, "get") else array)
