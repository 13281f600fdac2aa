# SPDX-License-Identifier: GPL-3.0-or-later
"""Maps made of Gaussians, whose transforms are known, through boxes, bands and back."""

from __future__ import annotations

import numpy as np
import pytest

from cryoralib_plugin.fourier.volumes import (
    backward_centred,
    band_of_volume,
    band_radius,
    forward_centred,
    gridding_correction,
    resample_volume,
    resize_box,
    volume_of_band,
)

CENTRES = np.array([[0.0, 0.0, 0.0], [3.25, -2.0, 1.5], [-4.0, 1.0, 5.0]])
"""x, y, z in px of the coarse box."""


def gaussians(box: int, sigma: float = 1.6, scale: float = 1.0) -> np.ndarray:
    """Return blobs of integral 1 as (N, N, N), all lengths times ``scale``."""
    axis = np.arange(box) - box // 2
    volume = np.zeros((box, box, box))
    for x, y, z in CENTRES * scale:
        along = [np.exp(-0.5 * ((axis - c) / (sigma * scale)) ** 2) for c in (z, y, x)]
        volume += np.einsum("i,j,k->ijk", *along)
    return volume / (2 * np.pi * (sigma * scale) ** 2) ** 1.5


def transform(kx, ky, kz, box: int, sigma: float = 1.6) -> np.ndarray:
    """Return the transform of `gaussians` at frequencies in Fourier pixels."""
    waves = sum(np.exp(-2j * np.pi * (kx * x + ky * y + kz * z) / box) for x, y, z in CENTRES)
    return np.exp(-2 * (np.pi * sigma / box) ** 2 * (kx**2 + ky**2 + kz**2)) * waves


@pytest.mark.parametrize("box", [32, 33])
def test_the_centred_transform_is_that_of_the_equation(xp, box):
    found = forward_centred(xp.asarray(gaussians(box)))
    k = np.rint(np.fft.fftfreq(box) * box)
    expected = transform(k[: box // 2 + 1], k[:, None], k[:, None, None], box)
    if box % 2 == 0:
        # The last column stands for both signs of Nyquist.
        found, expected = found[..., :-1], expected[..., :-1]
    np.testing.assert_allclose(np.asarray(found.tolist()), expected, atol=1e-4)


@pytest.mark.parametrize("shape, dimensions", [((2, 8, 8, 8), 3), ((3, 9, 9), 2)])
def test_transforms_return_and_keep_single_precision(shape, dimensions):
    array = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    spectra = forward_centred(array, dimensions)
    assert spectra.dtype == np.complex64
    again = backward_centred(spectra, shape[-1], dimensions)
    np.testing.assert_allclose(again, array, atol=1e-5)


@pytest.mark.parametrize("box", [16, 17])
@pytest.mark.parametrize("new", [10, 11, 24, 25])
def test_the_centre_stays_when_a_box_is_cropped_or_padded(box, new):
    volume = np.zeros((box,) * 3)
    volume[box // 2 + 1, box // 2 - 2, box // 2 + 3] = 1.0
    resized = resize_box(volume, new)
    assert resized.shape == (new,) * 3 and resized.sum() == 1.0
    assert resized[new // 2 + 1, new // 2 - 2, new // 2 + 3] == 1.0


@pytest.mark.parametrize("box, new", [(32, 48), (33, 48), (48, 31), (48, 32)])
def test_resampling_gives_the_map_on_the_other_voxels(box, new):
    smallest = min(box, new)
    volume = gaussians(box, scale=box / smallest)
    expected = gaussians(new, scale=new / smallest)
    # gaussians() keeps the integral; resampling keeps the grey values.
    found = resample_volume(volume, new) * (box / new) ** 3
    np.testing.assert_allclose(found, expected, atol=2e-4 * expected.max())


@pytest.mark.parametrize("box, padding", [(32, 1), (32, 2), (33, 2), (24, 3)])
def test_a_band_holds_the_map_and_reading_and_writing_are_corrected_for_once_each(box, padding):
    volume = gaussians(box, sigma=2.0)
    radius = ((padding * box - 1) // 2 - 1) // padding
    interpolated_twice = volume * gridding_correction(box, padding) ** 2
    band = band_of_volume(interpolated_twice, max_radius_px=radius, padding_factor=padding)
    again = volume_of_band(band, box, padding_factor=padding)
    np.testing.assert_allclose(again, volume, atol=1e-4 * volume.max())


def test_a_band_is_the_transform_on_the_finer_grid(xp):
    box, radius = 32, 6
    volume = gaussians(box) * gridding_correction(box, 2)
    band = band_of_volume(xp.asarray(volume), max_radius_px=radius, padding_factor=2)
    k = np.arange(-13, 14) / 2
    expected = transform(k[13:], k[:, None], k[:, None, None], box)
    assert band.shape == (27, 27, 14)
    np.testing.assert_allclose(np.asarray(band.tolist()), expected, atol=1e-6)
    np.testing.assert_allclose(
        np.asarray(band_radius(13, 2, xp).tolist()),
        np.sqrt(k[13:] ** 2 + k[:, None] ** 2 + k[:, None, None] ** 2),
    )


def test_interpolating_the_padded_transform_multiplies_the_map_by_the_correction():
    # Trilinear interpolation half-way between terms of the padded transform, in one dimension.
    box, padding = 16, 2
    position, coarse = 6, np.arange(-200, 200) / padding
    fine = np.arange(-60.0, 60.0, 0.125)
    wave = np.exp(-2j * np.pi * coarse * position / box)
    interpolated = np.interp(fine, coarse, wave.real) + 1j * np.interp(fine, coarse, wave.imag)
    amplitude = (interpolated * np.exp(2j * np.pi * fine * position / box)).mean().real
    c = box // 2
    assert gridding_correction(box, padding)[c, c, c + position] == pytest.approx(
        amplitude, rel=0.02
    )


def test_what_is_no_map_or_band_is_refused():
    with pytest.raises(ValueError, match="a map must be a cube.*\\(4, 4, 5\\)"):
        resize_box(np.zeros((4, 4, 5)), 8)
    with pytest.raises(ValueError, match="between 1 and 15 px in a box of 32 px.* 16 px"):
        band_of_volume(np.zeros((32, 32, 32)), max_radius_px=16)
    with pytest.raises(ValueError, match="padding factor must be 1, 2, 3 .* 0"):
        band_of_volume(np.zeros((32, 32, 32)), max_radius_px=3, padding_factor=0)
    with pytest.raises(ValueError, match="M below 4, but its shape is \\(11, 11, 6\\)"):
        volume_of_band(np.zeros((11, 11, 6), complex), 4, padding_factor=2)
    with pytest.raises(ValueError, match="at least 1 px, but it is 0 px"):
        resize_box(np.zeros((4, 4, 4)), 0)
    with pytest.raises(ValueError, match="at least 2 px, but it is 1 px"):
        resample_volume(np.zeros((4, 4, 4)), 1)
