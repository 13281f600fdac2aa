# SPDX-License-Identifier: GPL-3.0-or-later
"""Noise of particles: from images, from what rounds leave, by group, the same in any order."""

from __future__ import annotations

import numpy as np
import pytest

from cryoralib_plugin.refine3d.image_power import (
    ImagePower,
    initial_noise_power,
    summed_image_power,
)
from cryoralib_plugin.refine3d.noise import updated_noise_power
from cryoralib_plugin.refine3d.sums import POWER_UNIT, NoiseSums
from tests.reference.known_poses import posed_blobs

BOX, N_SHELLS = 32, 17


def _images(n, seed, std=1.0):
    return np.random.default_rng(seed).normal(scale=std, size=(n, BOX, BOX)).astype(np.float32)


def test_images_tell_the_noise_where_there_is_no_signal():
    posed = posed_blobs(300, BOX, particle_diameter_angst=75.0)
    noise = initial_noise_power(summed_image_power(posed.task))
    assert noise.shape == (2, 1, N_SHELLS)
    np.testing.assert_allclose(noise[:, 0, 12:], posed.noise_power, rtol=0.05)
    assert (noise[:, 0, 1:5] > posed.noise_power).all()


def test_what_all_particles_share_is_not_noise():
    common = 1.0 * np.exp(-((np.mgrid[:BOX, :BOX] - 16) ** 2).sum(axis=0) / 20.0)
    sums = ImagePower.zeros(1, BOX)
    for half in (0, 1):
        sums.add(_images(400, half) + common, half, np.zeros(400, int))
    noise = initial_noise_power(sums)
    np.testing.assert_allclose(noise[:, 0, 1:], 0.5 * BOX**2, rtol=0.12)
    assert sums.total_power()[0, 1] > 2 * noise[0, 0, 1]


def test_sums_are_the_same_in_any_order_and_number_of_parts():
    images, group = _images(50, 3), np.arange(50) % 2
    whole, parts = ImagePower.zeros(2, BOX), ImagePower.zeros(2, BOX)
    whole.add(images, 0, group)
    for rows in np.array_split(np.random.default_rng(0).permutation(50), 7):
        parts.add(images[rows], 0, group[rows])
    for name in ("power", "image", "counts"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(parts, name))


def test_groups_have_their_own_noise_unless_they_are_small():
    sums = ImagePower.zeros(3, BOX)
    for group, (n, std) in enumerate(((200, 1.0), (200, 2.0), (5, 9.0))):
        for half in (0, 1):
            sums.add(_images(n, 10 * group + half, std), half, np.full(n, group))
    noise = initial_noise_power(sums) / (0.5 * BOX**2)
    np.testing.assert_allclose(noise[:, 0, 3:], 1.0, rtol=0.1)
    np.testing.assert_allclose(noise[:, 1, 3:], 4.0, rtol=0.1)
    mean = (200 * 1.0 + 200 * 4.0 + 5 * 81.0) / 405
    np.testing.assert_allclose(noise[:, 2, 3:], mean, rtol=0.15)


def test_a_shell_without_power_does_not_rule_the_comparison():
    images = _images(100, 5)
    spectra = np.fft.rfft2(images)
    k = np.hypot(np.fft.fftfreq(BOX)[:, None], np.fft.rfftfreq(BOX)) * BOX
    images = np.fft.irfft2(spectra * (k < 10), s=(BOX, BOX)).astype(np.float32)
    sums = ImagePower.zeros(1, BOX)
    for half in (0, 1):
        sums.add(images[half::2], half, np.zeros(50, int))
    noise = initial_noise_power(sums)
    assert noise.min() >= 0.99e-3 * np.median(noise)
    with pytest.raises(ValueError, match="the images of half 2 have no power at all"):
        empty = ImagePower.zeros(1, BOX)
        empty.add(images, 0, np.zeros(100, int))
        initial_noise_power(empty)


def _noise_sums(relative, counts):
    """Sums of particles whose residual power is `relative` (2, n_groups, n_shells) of before."""
    counts = np.asarray(counts, np.int64)
    power = np.rint(np.asarray(relative) * counts[..., None] / POWER_UNIT).astype(np.int64)
    pair = np.zeros_like(counts)
    return NoiseSums(power, pair, pair.copy(), counts)


def test_a_round_updates_the_shells_it_reached():
    before = np.full((2, 2, N_SHELLS), 7.0)
    before[:, 1] = 14.0
    relative = np.full((2, 2, N_SHELLS), 0.5)
    relative[..., 12:] = 0.0
    after = updated_noise_power(before, _noise_sums(relative, [[40, 40], [40, 3]]))
    np.testing.assert_allclose(after[:, 0, :12], 3.5)
    np.testing.assert_allclose(after[0, 1, :12], 7.0)
    np.testing.assert_allclose(after[0, 1, 12:], 14.0)
    # A group of three has the mean of its half.
    np.testing.assert_allclose(after[1, 1, :12], (40 * 3.5 + 3 * 7.0) / 43)
    nothing = updated_noise_power(before, NoiseSums.zeros(2, BOX))
    assert np.isfinite(nothing).all() and (nothing >= 7.0).all()
