# SPDX-License-Identifier: GPL-3.0-or-later
"""Shells of maps against counts by hand, white noise and single waves."""

from __future__ import annotations

import numpy as np
import pytest

from cryoralib_plugin.fourier.shells import (
    filter_shells,
    lowpass_volume,
    power_spectrum,
    shell_counts,
    shell_index,
    shell_radius,
    spectrum_sums,
)


def wave(box: int, k: tuple) -> np.ndarray:
    """Return cos(2 pi k x / N), k and x in the order x, y, z, about the centre."""
    z, y, x = np.indices((box,) * 3) - box // 2
    return np.cos(2 * np.pi * (k[0] * x + k[1] * y + k[2] * z) / box)


@pytest.mark.parametrize("box", [12, 13])
def test_counts_are_those_of_the_full_transform(xp, box):
    k = np.rint(np.fft.fftfreq(box) * box)
    full = np.rint(np.sqrt(k[:, None, None] ** 2 + k[:, None] ** 2 + k**2)).astype(int)
    expected = np.bincount(full.ravel())[: box // 2 + 1]
    assert shell_counts(box, xp).tolist() == expected.tolist()
    assert (shell_index(box) == full[..., : box // 2 + 1]).all()


def test_sums_of_a_half_spectrum_are_those_of_the_whole():
    box = 10
    power = np.abs(np.fft.fftn(np.random.default_rng(1).normal(size=(box,) * 3))) ** 2
    k = np.fft.fftfreq(box) * box
    full = np.rint(np.sqrt(k[:, None, None] ** 2 + k[:, None] ** 2 + k**2)).astype(int)
    expected = np.bincount(full.ravel(), weights=power.ravel())[: box // 2 + 1]
    np.testing.assert_allclose(spectrum_sums(power[..., : box // 2 + 1], box), expected)


def test_white_noise_has_a_flat_spectrum():
    volume = np.random.default_rng(2).normal(size=(40,) * 3).astype(np.float32)
    spread = 5 / np.sqrt(shell_counts(40) / 2)
    assert (np.abs(power_spectrum(volume) / 40**3 - 1) < spread).all()


def test_a_filter_multiplies_a_wave_by_its_value_there():
    box, profile = 16, np.array([1.0, 0.8, 0.5, 0.1, 0.0])
    for k, factor in [((0, 2, 0), 0.5), ((1, 0, 0), 0.8), ((0, 3, 4), 0.0), ((7, 0, 0), 0.0)]:
        found = filter_shells(wave(box, k), profile)
        np.testing.assert_allclose(found, factor * wave(box, k), atol=1e-6)
    radius = np.sqrt(5.0)
    between = np.interp(radius, np.arange(5), profile)
    np.testing.assert_allclose(
        filter_shells(wave(box, (1, 2, 0)), profile), between * wave(box, (1, 2, 0)), atol=1e-6
    )


def test_a_lowpass_keeps_what_is_coarser_and_halves_what_is_at_the_limit():
    box, pixel = 32, 2.0
    # Shell 8 is 8 A.
    for k, factor in [((5, 0, 0), 1.0), ((0, 0, 8), 0.5), ((0, 11, 0), 0.0)]:
        found = lowpass_volume(wave(box, k), pixel, 8.0)
        np.testing.assert_allclose(found, factor * wave(box, k), atol=1e-5)


def test_a_lowpass_beyond_nyquist_changes_nothing():
    volume = np.random.default_rng(3).normal(size=(8,) * 3)
    assert lowpass_volume(volume, 2.0, 4.0) is volume
    with pytest.raises(ValueError, match="must be positive, but they are 2.0 A and 0 A"):
        lowpass_volume(volume, 2.0, 0)


def test_precision_is_kept():
    volume = np.random.default_rng(4).normal(size=(12,) * 3).astype(np.float32)
    assert lowpass_volume(volume, 1.0, 4.0).dtype == np.float32
    assert filter_shells(volume, np.ones(7)).dtype == np.float32
    assert shell_radius(12).dtype == np.float32
