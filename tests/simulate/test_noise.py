# SPDX-License-Identifier: GPL-3.0-or-later
"""Noise: its spectrum, its variance over the box and inside the disk; ramps; contamination."""

from __future__ import annotations

import numpy as np
import pytest

from cryoralib_plugin.fourier.frc import ring_counts, ring_sums
from cryoralib_plugin.fourier.masks import circular_mask
from cryoralib_plugin.fourier.transform import forward
from cryoralib_plugin.simulate.noise import (
    draw_contamination,
    draw_noise,
    draw_ramps,
    noise_power,
    variance_in_disk,
)

BOX = 48


@pytest.mark.parametrize("rise", [1.0, 4.0, 20.0])
def test_noise_has_its_power_spectrum_and_unit_variance(rise):
    power = noise_power(BOX, 2.5, rise)
    noise = draw_noise(3, np.arange(1500), power).astype(np.float64)
    assert noise.var() == pytest.approx(1.0, rel=0.01)
    measured = ring_sums((np.abs(forward(noise)) ** 2).mean(axis=0), BOX) / ring_counts(BOX)
    expected = ring_sums(power, BOX) / ring_counts(BOX) * BOX**2
    np.testing.assert_allclose(measured[2:], expected[2:], rtol=0.04)


def test_noise_rises_towards_low_frequency_by_the_given_factor():
    power = noise_power(256, 2.5, 3.0)
    assert power[0, 0] / power[0, -1] == pytest.approx(3.0, rel=0.01)
    # Half of the rise is gone at 30 A, ring 256 * 2.5 / 30.
    middle = np.interp(256 * 2.5 / 30.0, np.arange(129), power[0] / power[0, -1])
    assert middle == pytest.approx(2.0, rel=0.02)


@pytest.mark.parametrize("rise", [1.0, 20.0])
def test_variance_inside_the_disk_is_the_predicted_one(rise):
    power = noise_power(BOX, 2.5, rise)
    noise = draw_noise(4, np.arange(3000), power)
    inside = noise[:, circular_mask(BOX, 12) > 0].astype(np.float64)
    predicted = variance_in_disk(power, BOX, 12.0)
    assert inside.var(axis=1).mean() == pytest.approx(predicted, rel=0.01)
    if rise == 1.0:
        assert predicted == pytest.approx(1.0 - 1.0 / inside.shape[1], rel=1e-9)
    else:
        assert predicted < 0.98


def test_ramp_reaches_its_height_at_the_edge():
    plane = draw_ramps(np.array([[0.5, 0.0], [0.0, -0.2]]), 40)
    assert plane[0, 7, 0] == pytest.approx(-0.5)
    assert plane[1, 0, 9] == pytest.approx(0.2)
    np.testing.assert_allclose(plane[:, 20, 20], 0.0, atol=1e-7)


def test_contamination_is_brighter_than_the_noise_and_in_the_box():
    blobs = draw_contamination(5, np.arange(200), BOX)
    peak = blobs.max(axis=(1, 2))
    assert peak.min() > 2.5 and peak.max() <= 10.0
