# SPDX-License-Identifier: GPL-3.0-or-later
"""Preprocessing: each step against an answer that is known beforehand."""

from __future__ import annotations

import numpy as np
import pytest

from cryoralib_plugin.contract.preprocess import Preprocess
from cryoralib_plugin.fourier.masks import radius_map
from cryoralib_plugin.optics.ctf import CtfParameters, ctf_2d
from cryoralib_plugin.particles.preprocess import (
    Background,
    Preprocessing,
    Preprocessor,
    normalise_background,
    remove_ramp,
)

BOXES = [(24, 9.0), (25, 8.5)]


def host(array):
    return array.get() if hasattr(array, "get") else array


def grid(box):
    axis = np.arange(box) - box // 2
    return np.meshgrid(axis, axis, indexing="ij")


def noise(n, box, seed=0):
    return np.random.default_rng(seed).normal(size=(n, box, box)).astype(np.float32)


def optics(n, defocus=15000.0, astigmatism=800.0):
    ones = np.ones(n)
    return CtfParameters(
        defocus * ones, (defocus - astigmatism) * ones, 30 * ones, 300 * ones, 2.7 * ones,
        0.1 * ones, 0 * ones,
    )  # fmt: skip


@pytest.mark.parametrize("box, radius", BOXES)
def test_a_plane_is_removed_exactly_and_the_particle_stays(xp, box, radius):
    y, x = grid(box)
    particle = np.where(radius_map(box) <= radius - 2, 3.0, 0.0)
    planes = np.stack([1000 + 5 * x - 3 * y, -2 + 0.1 * x + 0.7 * y, 0 * x])
    images = xp.asarray((planes + particle).astype(np.float32))
    result = host(remove_ramp(images, Background.outside(box, radius, xp)))
    np.testing.assert_allclose(result[0], particle, atol=1e-3)
    np.testing.assert_allclose(result[1:], [particle, particle], atol=2e-5)


@pytest.mark.parametrize("box, radius", BOXES)
def test_the_plane_is_the_least_squares_one(xp, box, radius):
    images = noise(3, box)
    y, x = grid(box)
    outside = (radius_map(box) > radius).ravel()
    design = np.stack([np.ones(x.size), x.ravel(), y.ravel()], axis=1)
    flat = images.reshape(3, -1).astype(np.float64)
    planes, *_ = np.linalg.lstsq(design[outside], flat[:, outside].T, rcond=None)
    expected = (flat - (design @ planes).T).reshape(images.shape)
    result = host(remove_ramp(xp.asarray(images), Background.outside(box, radius, xp)))
    np.testing.assert_allclose(result, expected, atol=1e-5)


@pytest.mark.parametrize("box, radius", BOXES)
def test_background_has_mean_0_and_standard_deviation_1(xp, box, radius):
    images = xp.asarray(5e4 + 300 * noise(4, box))
    result = host(normalise_background(images, Background.outside(box, radius, xp)))
    outside = result[:, radius_map(box) > radius].astype(np.float64)
    np.testing.assert_allclose(outside.mean(axis=1), 0, atol=1e-5)
    np.testing.assert_allclose(outside.std(axis=1), 1, atol=1e-5)


def test_grey_scale_and_offset_do_not_matter_after_normalisation():
    settings = Preprocessing(remove_ramp=True, normalise_background=True, lowpass_angst=6)
    preprocessor = Preprocessor(settings, 24, 1.5)
    images = noise(3, 24)
    first, second = preprocessor.prepare(images), preprocessor.prepare(40 * images + 700)
    np.testing.assert_allclose(first, second, atol=2e-4)


@pytest.mark.parametrize("box, new", [(48, 24), (48, 25), (45, 24), (45, 27)])
def test_down_sampling_keeps_grey_values_of_a_band_limited_image(xp, box, new):
    def scene(n):
        axis = (np.arange(n) - n // 2) / n
        y, x = np.meshgrid(axis, axis, indexing="ij")
        waves = [(0, 0, 0.3), (3, -2, 1.0), (1, 7, 2.0), (-9, 4, 0.5)]
        return sum(a * np.cos(2 * np.pi * (k * x + h * y) + a) for k, h, a in waves)

    preprocessor = Preprocessor(Preprocessing(downsample_box_px=new), box, 1.5, xp)
    image = xp.asarray(scene(box)[None].astype(np.float32))
    np.testing.assert_allclose(host(preprocessor.prepare(image))[0], scene(new), atol=2e-5)
    assert preprocessor.box_size_px == new
    assert preprocessor.pixel_size_angst == pytest.approx(1.5 * box / new)


def test_inversion_is_the_negative(xp):
    images = xp.asarray(noise(2, 24))
    plain = Preprocessor(Preprocessing(normalise_background=True), 24, 1.0, xp)
    inverted = Preprocessor(
        Preprocessing(normalise_background=True, invert_contrast=True), 24, 1.0, xp
    )
    np.testing.assert_array_equal(host(inverted.prepare(images)), -host(plain.prepare(images)))


@pytest.mark.parametrize("new", [0, 32])
def test_ctf_is_multiplied_or_its_sign_is(xp, new):
    images = noise(2, 48)
    box, pixel_size = new or 48, 2.0 * 48 / (new or 48)
    plain = Preprocessor(Preprocessing(downsample_box_px=new), 48, 2.0).prepare(images)
    spectra = np.fft.rfft2(plain)
    transfer = ctf_2d(optics(2), box, pixel_size)
    parameters = CtfParameters(*(xp.asarray(value) for value in vars(optics(2)).values()))
    for mode, factor in (("multiply", transfer), ("phase_flip", np.where(transfer < 0, -1, 1))):
        settings = Preprocessing(downsample_box_px=new, ctf=mode)
        result = Preprocessor(settings, 48, 2.0, xp).prepare(xp.asarray(images), parameters)
        expected = np.fft.irfft2(spectra * factor, s=(box, box))
        np.testing.assert_allclose(host(result), expected, atol=2e-5)


def test_flipping_twice_is_the_identity():
    # An odd box has no Nyquist column, whose real part alone survives an astigmatic CTF.
    images = noise(2, 47)
    preprocessor = Preprocessor(Preprocessing(ctf="phase_flip"), 47, 2.0)
    twice = preprocessor.prepare(preprocessor.prepare(images, optics(2)), optics(2))
    np.testing.assert_allclose(twice, images, atol=2e-5)


def test_band_pass_keeps_the_band_and_nothing_else():
    settings = Preprocessing(lowpass_angst=8.0, highpass_angst=40.0)
    result = Preprocessor(settings, 64, 2.0).prepare(noise(8, 64))
    power = (np.abs(np.fft.fft2(result)) ** 2).mean(axis=0)
    ring = np.rint(radius_map(64)).astype(int)
    curve = np.bincount(ring.ravel(), np.fft.fftshift(power).ravel()) / np.bincount(ring.ravel())
    curve /= 64 * 64
    # 40 A is ring 3.2, 8 A is ring 16.
    assert curve[0] < 1e-6
    assert abs(curve[8:13].mean() - 1) < 0.15
    assert curve[20:32].max() < 1e-6


def test_ramp_goes_first_and_normalisation_last():
    """A strong ramp must not leak through the filters, nor filters change the final variance."""
    y, x = grid(48)
    images = noise(2, 48)
    ramp = (20 * x - 35 * y).astype(np.float32)
    settings = Preprocessing(
        downsample_box_px=32,
        lowpass_angst=10,
        remove_ramp=True,
        normalise_background=True,
        background_radius_px=12,
        ctf="phase_flip",
    )
    preprocessor = Preprocessor(settings, 48, 2.0)
    with_ramp = preprocessor.prepare(images + ramp, optics(2))
    np.testing.assert_allclose(with_ramp, preprocessor.prepare(images, optics(2)), atol=2e-3)
    outside = with_ramp[:, radius_map(32) > 12]
    np.testing.assert_allclose(outside.std(axis=1), 1, atol=1e-4)


def test_what_the_parameter_groups_ask_for():
    groups = Preprocess(downsample_box_px=64, highpass_angst=200, remove_ramp=False)
    settings = Preprocessing.from_config(groups, "wiener", 20)
    assert settings == Preprocessing(
        downsample_box_px=64,
        highpass_angst=200,
        remove_ramp=False,
        normalise_background=True,
        background_radius_px=20,
        ctf="multiply",
    )


def test_impossible_settings_are_refused_in_words():
    with pytest.raises(ValueError, match="downsample_box_px must not exceed the box of the part"):
        Preprocessor(Preprocessing(downsample_box_px=64), 48, 1.0)
    with pytest.raises(ValueError, match="background radius of 40 px leaves 0 of the pixels"):
        Preprocessor(Preprocessing(remove_ramp=True, background_radius_px=40), 48, 1.0)
    with pytest.raises(ValueError, match='ctf must be "none", "phase_flip" or "multiply"'):
        Preprocessor(Preprocessing(ctf="wiener"), 48, 1.0)
    with pytest.raises(ValueError, match="needs the optics of the images"):
        Preprocessor(Preprocessing(ctf="multiply"), 48, 1.0).prepare(noise(1, 48))


@pytest.mark.parametrize("box, new", [(48, 0), (47, 0), (90, 64), (91, 33)])
@pytest.mark.parametrize("ctf", ["none", "phase_flip", "multiply"])
def test_not_one_bit_depends_on_the_batch(box, new, ctf):
    """Results must be the same for any number of ranks, so images may not see their neighbours."""
    settings = Preprocessing(
        downsample_box_px=new, remove_ramp=True, normalise_background=True, lowpass_angst=8, ctf=ctf
    )
    preprocessor = Preprocessor(settings, box, 2.0)
    images = noise(21, box)
    parameters = optics(21)
    whole = preprocessor.prepare(images, parameters)
    for size in (1, 2, 5, 16):
        parts = [
            preprocessor.prepare(images[start : start + size], parameters[start : start + size])
            for start in range(0, 21, size)
        ]
        np.testing.assert_array_equal(np.concatenate(parts), whole)
