# SPDX-License-Identifier: GPL-3.0-or-later
"""Shell correlation of maps that are equal, independent, or alike in part and in a mask only."""

from __future__ import annotations

import numpy as np
import pytest

from cryoralib_plugin.fourier.directional_fsc import (
    conical_area_ratio,
    conical_fsc,
    sampling_compensation,
    slices_through,
)
from cryoralib_plugin.fourier.frc import resolution_from_curve
from cryoralib_plugin.fourier.fsc import fsc, last_shell_above, masked_fsc, randomise_phases
from cryoralib_plugin.fourier.maps import backward_centred, forward_centred
from cryoralib_plugin.fourier.masks3d import soft_sphere
from cryoralib_plugin.fourier.shells import (
    filter_shells,
    lowpass_volume,
    power_spectrum,
    shell_counts,
)
from cryoralib_plugin.geometry.directions import directions_of_pixels

BOX = 40


def noise(seed: int, n: int = 1, box: int = BOX):
    drawn = np.random.default_rng(seed).normal(size=(n, box, box, box)).astype(np.float32)
    return drawn[0] if n == 1 else drawn


def halves(seed: int, falloff: float = 6.0):
    """Return a molecule inside a sphere of 12 px with white noise of its own in each half."""
    profile = np.exp(-0.5 * (np.arange(30) / falloff) ** 2)
    signal = filter_shells(noise(seed), profile) * soft_sphere(BOX, 10, 3)
    first, second = noise(seed + 1, 2)
    return signal + 0.05 * first, signal + 0.05 * second


def test_identical_maps_correlate_fully(xp):
    volume = xp.asarray(noise(1))
    curve = fsc(volume, 3.0 * volume)
    np.testing.assert_allclose(np.asarray(curve.tolist()), 1.0, atol=1e-6)
    assert len(curve) == BOX // 2 + 1
    np.testing.assert_allclose(np.asarray(fsc(volume, -volume).tolist()), -1.0, atol=1e-6)


def test_independent_noise_correlates_by_chance_only():
    curve, counts = fsc(*noise(2, 2)), shell_counts(BOX)
    assert (np.abs(curve[1:]) < 3 / np.sqrt(counts[1:])).all()
    curves = np.stack([fsc(*noise(seed, 2, 16)) for seed in range(40)])
    spread = (curves[:, 1:] ** 2).mean(axis=0) * shell_counts(16)[1:]
    assert np.mean(spread) == pytest.approx(1.0, abs=0.2)


def test_a_curve_is_that_of_the_equation():
    box = 11
    f, g = (np.fft.fftn(v.astype(float)) for v in noise(3, 2, box))
    k = np.fft.fftfreq(box) * box
    shell = np.rint(np.sqrt(k[:, None, None] ** 2 + k[:, None] ** 2 + k**2))
    expected = [
        (f * g.conj()).real[shell == i].sum()
        / np.sqrt((abs(f) ** 2)[shell == i].sum() * (abs(g) ** 2)[shell == i].sum())
        for i in range(box // 2 + 1)
    ]
    np.testing.assert_allclose(fsc(*noise(3, 2, box)), expected, atol=1e-5)


def test_resolution_of_a_known_signal_to_noise_ratio():
    # FSC = S / (S + 1) with S the ratio of the powers: here 1 at shell 10, so FSC is 1/2 there.
    signal = filter_shells(noise(4), 10.0 ** ((10 - np.arange(36)) / 10))
    first, second = noise(5, 2)
    curve = fsc(signal + first, signal + second)
    expected = 1 / (1 + 10.0 ** ((np.arange(BOX // 2 + 1) - 10) / 5))
    np.testing.assert_allclose(curve[3:], expected[3:], atol=0.1)
    resolution = resolution_from_curve(curve, BOX, 2.0, threshold=0.5)
    assert resolution == pytest.approx(BOX * 2.0 / 10, rel=0.05)


def test_resolved_shells_are_counted_from_the_centre():
    curve = np.array([0.0, 0.9, 0.8, 0.1, 0.9])
    assert last_shell_above(curve, 0.5) == 2
    assert last_shell_above(curve, 0.05) == 4
    assert last_shell_above(curve, 0.95) == 0
    assert last_shell_above(np.array([1.0, np.nan, 1.0]), 0.5) == 0


def test_random_phases_keep_amplitudes_and_what_lies_below():
    volume = halves(6)[0]
    random = randomise_phases(volume, 8, noise(107))
    np.testing.assert_allclose(power_spectrum(random), power_spectrum(volume), rtol=1e-4)
    curve, counts = fsc(volume, random), shell_counts(BOX)
    np.testing.assert_allclose(curve[:8], 1.0, atol=1e-5)
    assert (np.abs(curve[8:]) < 4 / np.sqrt(counts[8:])).all()


def test_the_corrected_curve_of_identical_maps_is_one():
    volume, _ = halves(8)
    found = masked_fsc(volume, volume, soft_sphere(BOX, 10, 5), tuple(noise(9, 2)))
    np.testing.assert_allclose(found.corrected[1:], 1.0, atol=1e-5)


def test_a_masks_own_correlation_is_taken_away():
    # Half maps that agree below shell 6 only; a hard, small mask makes them agree beyond.
    first, second = noise(10, 2)
    common = 30 * lowpass_volume(noise(11), 1.0, BOX / 5)
    mask = soft_sphere(BOX, 6, 0)
    found = masked_fsc(common + first, common + second, mask, tuple(noise(12, 2)))
    assert found.masked[9:14].mean() > 0.3
    assert abs(found.corrected[9:14].mean()) < 0.15
    assert (found.masked[:6] == found.corrected[:6]).all()


def test_noise_in_a_mask_stays_uncorrelated():
    first, second = noise(13, 2)
    found = masked_fsc(first, second, soft_sphere(BOX, 12, 6), tuple(noise(14, 2)))
    assert found.first_random_shell == 1
    # A mask of a share f of the box leaves about f times the terms independent.
    counts = shell_counts(BOX)
    share = (soft_sphere(BOX, 12, 6) ** 2).mean()
    assert (np.abs(found.corrected[3:]) < 4 / np.sqrt(share * counts[3:])).all()


def test_a_real_signal_keeps_its_correlation_in_the_mask():
    first, second = halves(15)
    found = masked_fsc(first, second, soft_sphere(BOX, 13, 5), tuple(noise(16, 2)))
    assert found.corrected[8] > found.unmasked[8] + 0.02
    np.testing.assert_allclose(found.corrected[1:9], found.masked[1:9], atol=0.05)


def test_cones_of_ninety_degrees_give_the_common_curve(xp):
    first, second = (xp.asarray(v) for v in halves(17))
    curves = conical_fsc(first, second, xp.asarray(directions_of_pixels(1)[:3]), 90.0)
    common = np.asarray(fsc(first, second).tolist())
    for curve in curves.tolist():
        np.testing.assert_allclose(curve, common, atol=1e-6)


def missing_along_z(volume: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the volume with the terms within 45 degrees of z taken from the other."""
    spectrum, wrong = forward_centred(volume), forward_centred(other)
    k = np.fft.fftfreq(BOX) * BOX
    steep = k[:, None, None] ** 2 > k[:, None] ** 2 + k[: BOX // 2 + 1] ** 2
    return backward_centred(np.where(steep, wrong, spectrum), BOX)


def test_a_missing_direction_is_found_where_it_is():
    signal = noise(18)
    first = missing_along_z(signal, noise(19))
    curves = conical_fsc(first, signal, np.eye(3))
    assert curves[2, 8:].mean() < 0.1
    np.testing.assert_allclose(curves[:2, 8:], 1.0, atol=1e-5)
    assert conical_area_ratio(curves) < 0.2
    even = conical_fsc(signal, signal, np.eye(3))
    assert conical_area_ratio(even) == pytest.approx(1.0)


def test_narrow_cones_without_a_coarse_term_do_not_end_a_curve():
    first = np.random.default_rng(3).normal(size=(16,) * 3)
    second = first + np.random.default_rng(4).normal(size=first.shape)
    # No term of shell 1 lies within 20 degrees of the diagonal.
    diagonal = np.ones((1, 3)) / 3**0.5
    curve = conical_fsc(first, second, diagonal)[0]
    assert curve[1] == pytest.approx(fsc(first, second)[1])
    assert curve[6] != pytest.approx(fsc(first, second)[6])
    assert conical_area_ratio(conical_fsc(first, first, directions_of_pixels(2))) == pytest.approx(
        1.0
    )


def test_the_area_ends_where_the_curve_falls():
    curves = np.array([[1.0, 1.0, 1.0, 0.1, 0.9], [1.0, 0.5, 0.5, 0.1, 0.9]])
    assert conical_area_ratio(curves) == pytest.approx(0.5)
    assert conical_area_ratio(np.zeros((2, 5))) == 0.0


def test_even_views_sample_evenly():
    directions, views = directions_of_pixels(4), directions_of_pixels(16)
    counts = slices_through(views, directions, radius_px=10)
    # A band of |sine| < 1/20 holds 1/20 of all views.
    np.testing.assert_allclose(counts, len(views) / 20, rtol=0.2)
    assert sampling_compensation(counts) > 0.98
    doubled = slices_through(views, directions, radius_px=10, weights=np.full(len(views), 2.0))
    np.testing.assert_allclose(doubled, 2 * counts)


def test_side_views_sample_the_axis_most_and_top_views_leave_most_unseen():
    directions = directions_of_pixels(8)
    angle = np.linspace(0, 2 * np.pi, 2000, endpoint=False)
    side = np.stack([np.cos(angle), np.sin(angle), np.zeros(2000)], axis=1)
    counts = slices_through(side, directions)
    # Density 1 / (pi sine of the angle to z): SCF is 1 / (<s> <1 / s>) = (2 / pi)(4 / pi), 0.81.
    steep = np.abs(directions[:, 2]) < 0.99
    expected = 2000 / (50 * np.pi * np.sqrt(1 - directions[:, 2] ** 2))
    np.testing.assert_allclose(counts[steep], expected[steep], rtol=0.35)
    assert sampling_compensation(counts) == pytest.approx(8 / np.pi**2, abs=0.03)
    top = slices_through(np.array([[0.0, 0.0, 1.0]]).repeat(2000, axis=0), directions)
    assert (top[np.abs(directions[:, 2]) > 0.01] == 0).all()
    assert sampling_compensation(top) < 0.02
    assert sampling_compensation(np.zeros(5)) == 0.0


def test_what_cannot_be_correlated_is_refused():
    with pytest.raises(ValueError, match="one shape, but they are \\(4, 4, 4\\) and \\(5, 5, 5\\)"):
        fsc(np.zeros((4,) * 3), np.zeros((5,) * 3))
    with pytest.raises(ValueError, match="one shape"):
        conical_fsc(np.zeros((4,) * 3), np.zeros((5,) * 3), np.eye(3))
    with pytest.raises(ValueError, match="in \\(0, 90\\] degrees, but it is 120"):
        conical_fsc(np.zeros((4,) * 3), np.zeros((4,) * 3), np.eye(3), 120)
    with pytest.raises(
        ValueError, match="shape of the map, \\(4, 4, 4\\), but it is \\(5, 5, 5\\)"
    ):
        randomise_phases(np.zeros((4,) * 3), 1, np.zeros((5,) * 3))
