# SPDX-License-Identifier: GPL-3.0-or-later
"""Fourier ring correlation: identical, independent and brute-force images; resolution."""

from __future__ import annotations

import numpy as np
import pytest

from cryoralib_plugin.fourier.frc import frc, resolution_from_curve, ring_counts, ring_sums


@pytest.mark.parametrize("box", [32, 33])
def test_identical_images_correlate_fully_and_negatives_inversely(xp, box):
    image = xp.asarray(np.random.default_rng(1).normal(size=(2, box, box)))
    curve, _ = frc(image, image)
    np.testing.assert_allclose(np.asarray(curve.tolist()), 1.0, atol=1e-12)
    curve, _ = frc(image, -2.0 * image)
    np.testing.assert_allclose(np.asarray(curve.tolist()), -1.0, atol=1e-12)


@pytest.mark.parametrize("box", [16, 17])
def test_curve_is_the_sum_over_the_full_plane(box):
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=(2, box, box))
    f, g = np.fft.fft2(a), np.fft.fft2(b)
    k = np.fft.fftfreq(box) * box
    ring = np.rint(np.hypot(k[:, None], k[None, :])).astype(int)
    curve, counts = frc(a, b)
    for i in range(box // 2 + 1):
        m = ring == i
        expected = (f[m] * g[m].conj()).sum().real
        expected /= np.sqrt((np.abs(f[m]) ** 2).sum() * (np.abs(g[m]) ** 2).sum())
        assert curve[i] == pytest.approx(expected, abs=1e-12)
        assert counts[i] == m.sum()


def test_independent_noise_has_mean_zero_and_the_known_spread():
    rng = np.random.default_rng(3)
    curve, counts = frc(*rng.normal(size=(2, 4000, 64, 64)).astype(np.float32))
    inner = slice(2, 32)
    np.testing.assert_allclose(curve[:, inner].mean(axis=0), 0.0, atol=0.015)
    # The exact spread of a correlation is a little above the asymptotic one in small rings.
    np.testing.assert_allclose(curve[:, inner].std(axis=0) * np.sqrt(counts[inner]), 1.0, atol=0.06)
    assert curve[:, 8].std() == pytest.approx(0.141, rel=0.05)
    assert curve[:, 25].std() == pytest.approx(0.0767, rel=0.05)


def test_ring_without_power_is_zero_not_nan():
    curve, _ = frc(np.zeros((16, 16)), np.ones((16, 16)))
    np.testing.assert_array_equal(curve, 0.0)


def test_ring_sums_of_one_count_terms_and_keep_batches_apart():
    values = np.stack([np.ones((12, 7)), 3.0 * np.ones((12, 7))])
    sums = ring_sums(values, 12)
    np.testing.assert_allclose(sums[0], ring_counts(12))
    np.testing.assert_allclose(sums[1], 3.0 * ring_counts(12))


def test_mismatched_shapes_are_refused():
    with pytest.raises(ValueError, match=r"\(8, 8\) and \(9, 9\)"):
        frc(np.zeros((8, 8)), np.zeros((9, 9)))
    with pytest.raises(ValueError, match="images must be square"):
        frc(np.zeros((8, 9)), np.zeros((8, 9)))


def test_resolution_is_interpolated_between_rings():
    curve = np.array([1.0, 0.9, 0.7, 0.3, 0.0, 0.0])
    # Between ring 2 (0.7) and ring 3 (0.3) the curve is one half at 2.5.
    assert resolution_from_curve(curve, 10, 3.0, threshold=0.5) == pytest.approx(30.0 / 2.5)


def test_resolution_at_both_ends():
    curves = np.array([[1.0, 1.0, 1.0, 1.0], [1.0, 0.0, 1.0, 1.0]])
    resolution = resolution_from_curve(curves, 6, 2.0)
    assert resolution[0] == 4.0
    assert np.isinf(resolution[1])
