# SPDX-License-Identifier: GPL-3.0-or-later
"""Known poses give the map back: amplitudes, correlation, noise, symmetry, and no spikes."""

from __future__ import annotations

import numpy as np
import pytest

from cryoralib_plugin.contract.reconstruction import Reconstruction
from cryoralib_plugin.fourier.band import FourierBand, band_spectra, band_values, shift_phases
from cryoralib_plugin.fourier.fsc import fsc
from cryoralib_plugin.fourier.reconstruction import (
    divided,
    even_weights,
    floored,
    reconstruct,
    wiener_weights,
)
from cryoralib_plugin.fourier.shells import grid_shells, shell_means
from cryoralib_plugin.fourier.volume import gridding_response, map_of
from cryoralib_plugin.kernels.backproject import SliceSums, Views, backproject, completed
from cryoralib_plugin.kernels.device import CpuDevice
from cryoralib_plugin.optics.ctf import CtfParameters, ctf_2d
from tests.reference.fourier_grid import random_rotations
from tests.reference.gaussian_map import blobs

BOX = 48
LOWEST = Reconstruction().weight_floor


def _transfer(n, box, seed, low_angst=8000.0, high_angst=20000.0):
    defocus = np.random.default_rng(seed).uniform(low_angst, high_angst, n)
    same = np.ones(n)
    return ctf_2d(
        CtfParameters(defocus, defocus, 0 * same, 300 * same, 2.7 * same, 0.1 * same, 0 * same),
        box,
        3.0,
    )


def _inserted(images, rotations, shift_px, *, radius, ctf=None, symmetry=None):
    box = images.shape[-1]
    band = FourierBand.between(box, 0, radius)
    spectra = band_spectra(images, band) * shift_phases(shift_px, band).conj()
    transfer = np.ones(spectra.shape, np.float32) if ctf is None else band_values(ctf, band)
    sums = SliceSums.zeros(band, CpuDevice(), data_magnitude=float(np.abs(spectra).mean()) + 1e-9)
    n = len(images)
    views = Views(rotations, np.arange(n), np.ones(n, np.float32))
    backproject(sums, spectra * transfer, transfer**2, views, band, symmetry=symmetry)
    return completed(sums)


def _map(images, rotations, shift_px, **options):
    data, weights = _inserted(images, rotations, shift_px, **options)
    return reconstruct(data, floored(weights, data.padding, LOWEST))


def _views(n, seed, **options):
    rotations = random_rotations(n, seed)
    shift = np.random.default_rng(seed).uniform(-2, 2, (n, 2))
    volume, images = blobs(BOX, rotations, shift, widths_px=(1.1, 1.6), **options)
    return volume, images, rotations, shift


def test_exact_slices_give_the_map_back():
    # A particle that fills half the box; the error of interpolation grows with its size.
    volume, images, rotations, shift = _views(300, 1, reach_px=9.0)
    found = _map(images, rotations, shift, radius=23)
    curve = fsc(found, volume)
    assert (curve[1:15] >= 0.999).all()
    assert curve[21] >= 0.95
    kept = np.abs(volume) > 0.05 * volume.max()
    assert np.vdot(volume[kept], found[kept]) / np.vdot(volume[kept], volume[kept]) == (
        pytest.approx(1.0, abs=0.02)
    )


def test_ctf_is_undone():
    volume, images, rotations, shift = _views(300, 2)
    ctf = _transfer(300, BOX, 2)
    blurred = np.fft.irfft2(np.fft.rfft2(images) * ctf, s=(BOX, BOX)).astype(np.float32)
    curve = fsc(_map(blurred, rotations, shift, radius=23, ctf=ctf), volume)
    assert (curve[1:15] >= 0.99).all()


def test_transposed_rotations_and_opposite_shifts_ruin_the_map():
    volume, images, rotations, shift = _views(200, 3, n_blobs=12)
    far = shift + 4.0 * np.sign(shift)
    _, moved = blobs(BOX, rotations, far, widths_px=(1.1, 1.6), n_blobs=12)
    around = slice(6, 9)  # 0.3 of the Nyquist frequency is shell 7

    def correlation(particles, turned, displaced):
        return fsc(_map(particles, turned, displaced, radius=20), volume)[around].mean()

    assert correlation(images, rotations, shift) > 0.99
    assert correlation(moved, rotations, far) > 0.99
    assert correlation(images, rotations.swapaxes(1, 2), shift) < 0.3
    assert correlation(moved, rotations, -far) < 0.3


def test_noise_correlates_as_its_power_says():
    # A slice of thickness 1 px covers 1 / (2 s) of shell s, so n of them leave 2 s / n of the
    # noise power; halves correlate as SSNR / (SSNR + 1).
    n, sigma, radius = 150, 1.5, 18
    volume, images, rotations, shift = _views(2 * n, 4)
    shells = np.arange(radius + 1)
    signal = _shell_power(volume)[: radius + 1]
    expected = signal / (signal + sigma**2 * BOX**2 * 2 * shells / n)
    curves = []
    for seed in range(5):
        noise = np.random.default_rng(seed).normal(scale=sigma, size=images.shape)
        noisy = (images + noise).astype(np.float32)
        halves = [
            _map(noisy[rows], rotations[rows], shift[rows], radius=radius)
            for rows in (slice(0, n), slice(n, None))
        ]
        curves.append(fsc(*halves)[: radius + 1])
    used = slice(3, radius - 1)
    assert expected[used].max() > 0.9 and expected[used].min() < 0.5
    np.testing.assert_allclose(np.mean(curves, axis=0)[used], expected[used], atol=0.05)


def test_symmetric_insertion_stands_for_the_missing_views():
    volume, images, rotations, shift = _views(240, 5, fold=4, n_blobs=20)
    quarter = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    operators = np.array([np.linalg.matrix_power(quarter, i) for i in range(4)])
    few = slice(0, 60)
    symmetric = _map(images[few], rotations[few], shift[few], radius=20, symmetry=operators)
    plain = _map(images, rotations, shift, radius=20)
    assert (fsc(symmetric, plain)[1:16] >= 0.99).all()
    assert (fsc(symmetric, volume)[1:16] >= 0.99).all()
    # Quarter turns permute the grid: inserted mates are turned sums.
    options = {"radius": 12}
    data, _ = _inserted(images[few], rotations[few], shift[few], **options)
    turned, _ = _inserted(images[few], rotations[few], shift[few], symmetry=operators, **options)
    whole = _whole(data.values)
    total = sum(np.rot90(whole, i, axes=(1, 2)) for i in range(4))
    error = np.linalg.norm(_whole(turned.values) - total) / np.linalg.norm(total)
    assert error < 1e-5


def test_the_map_of_a_half_spectrum_is_real():
    _, images, rotations, shift = _views(40, 6)
    data, weights = _inserted(images, rotations, shift, radius=15)
    spectrum = divided(data, floored(weights, 2, LOWEST))
    cube = np.zeros((2 * BOX,) * 3, complex)
    places = np.arange(-30, 31) % (2 * BOX)
    cube[np.ix_(places, places, places)] = _whole(spectrum.values)
    density = np.fft.fftshift(np.fft.ifftn(cube))
    assert np.abs(density.imag).max() < 1e-6 * np.abs(density.real).max()
    inner = slice(BOX // 2, 3 * BOX // 2)
    expected = density.real[inner, inner, inner] / gridding_response(BOX, 2)
    found = map_of(spectrum)
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("radius", [16, 28])
def test_pure_noise_leaves_no_spikes(radius):
    # THUNDER: 3 of 56 half maps carried single voxels of thousands of times the shell's power.
    box, powers, unsafe = 64, [], 0.0
    band = FourierBand.between(box, 0, radius)
    used = grid_shells(2 * radius, 2)
    inside = used < radius
    for seed in range(20):
        rng = np.random.default_rng(seed)
        ctf = band_values(_transfer(400, box, seed), band)
        if seed % 2:
            # One view whose CTF is nearly zero on a ring, rim included.
            ctf[7, band.shell >= radius - 3] = 1e-4
        noise = rng.normal(size=(400, band.n_terms, 2)).astype(np.float32).view(np.complex64)
        sums = SliceSums.zeros(band, CpuDevice())
        views = Views(random_rotations(400, seed), np.arange(400), np.ones(400, np.float32))
        backproject(sums, noise[..., 0] * ctf, ctf**2, views, band)
        data, weights = completed(sums)
        safe = floored(weights, 2, LOWEST)
        means = shell_means(weights, used)
        lowest = 0.99 * LOWEST
        assert (safe[inside] >= lowest * means[used[inside]]).all() and lowest > 1e-3
        power = np.abs(divided(data, safe).values) ** 2
        for shell in range(3, radius):
            here = power[used == shell]
            assert here.max() < 1e3 * np.median(here)
        powers.append(power[(used >= 3) & inside].sum())
        unsafe = max(unsafe, (np.abs(divided(data, weights).values[inside]) ** 2).max())
    # What the floor is for: the farther the slices reach, the more points a single one touches.
    assert unsafe > (1e5 if radius == 28 else 10.0)
    np.testing.assert_allclose(powers, np.mean(powers), rtol=0.1)


def test_the_floor_lifts_only_what_is_below_it():
    weights = np.ones((9, 9, 5), np.float32)
    weights[0, 4, 0] = 1e-9
    assert floored(weights, 2, LOWEST)[0, 4, 0] == pytest.approx(LOWEST, rel=0.1)
    assert (floored(weights, 2, LOWEST)[weights == 1.0] == 1.0).all()


def test_the_wiener_filter_is_the_one_of_the_halves(xp):
    weights = xp.full((17, 17, 9), 5.0, dtype=xp.float32)
    curve = np.array([1.0, 0.9, 0.5, 0.1, -0.2])
    damped = {
        n: np.asarray(_host(weights / wiener_weights(weights, 2, curve, n_halves=n)))[8, 8]
        for n in (1, 2)
    }
    for shell, f in enumerate(np.clip(curve, 1e-3, 0.999)):
        assert damped[1][2 * shell] == pytest.approx(f, rel=1e-4)
        assert damped[2][2 * shell] == pytest.approx(2 * f / (1 + f), rel=1e-4)
    with pytest.raises(ValueError, match="n_halves must be 1 or 2, but it is 3"):
        wiener_weights(weights, 2, curve, n_halves=3)


def test_even_weights_cost_no_amplitude_and_gain_correlation():
    n, radius = 80, 20
    volume, images, rotations, shift = _views(2 * n, 8)
    ctf = _transfer(2 * n, BOX, 8)
    blurred = np.fft.irfft2(np.fft.rfft2(images) * ctf, s=(BOX, BOX))
    noise = np.random.default_rng(9).normal(scale=1.5 * images.std(), size=images.shape)
    noisy = (blurred + noise).astype(np.float32)
    halves = [
        _inserted(noisy[rows], rotations[rows], shift[rows], radius=radius, ctf=ctf[rows])
        for rows in (slice(0, n), slice(n, None))
    ]
    safe = [(data, floored(weights, 2, LOWEST)) for data, weights in halves]
    plain = [reconstruct(*half) for half in safe]
    curve = fsc(*plain)
    even = [
        reconstruct(data, even_weights(weights, 2, curve, n_halves=2)) for data, weights in safe
    ]
    mean, other = 0.5 * sum(plain), 0.5 * sum(even)
    kept = np.abs(volume) > 0.05 * volume.max()
    slope = np.vdot(volume[kept], mean[kept]) / np.vdot(volume[kept], volume[kept])
    assert np.vdot(volume[kept], other[kept]) / np.vdot(volume[kept], volume[kept]) == (
        pytest.approx(slope, abs=0.01)
    )
    before, after = fsc(mean, volume)[1:radius], fsc(other, volume)[1:radius]
    assert (after > before - 0.01).all()
    noisiest = (before > 0.2) & (before < 0.7)
    assert noisiest.any() and (after - before)[noisiest].mean() > 0.01


def test_few_views_are_damped_more_than_many():
    weights = np.ones((17, 17, 9), np.float32)
    weights[8] = 0.1
    ratio = weights / wiener_weights(weights, 2, np.full(13, 0.5))
    assert (ratio[8] < 0.25).all() and ratio[12, 12, 2] > 0.5


def test_shapes_must_agree():
    _, images, rotations, shift = _views(2, 7)
    data, weights = _inserted(images, rotations, shift, radius=5)
    with pytest.raises(ValueError, match=r"weights must have the shape of the data"):
        divided(data, weights[1:])
    with pytest.raises(ValueError, match="maps to correlate must have one shape"):
        fsc(np.zeros((4, 4, 4)), np.zeros((5, 5, 5)))


def _whole(half):
    """The whole cube of a half grid."""
    return np.concatenate([half[::-1, ::-1, :0:-1].conj(), half], axis=2)


def _shell_power(volume):
    power = np.abs(np.fft.fftn(volume.astype(float))) ** 2
    axis = np.fft.fftfreq(len(volume)) * len(volume)
    radius = np.sqrt(axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2)
    shell = np.rint(radius).astype(int).ravel()
    return np.bincount(shell, power.ravel()) / np.bincount(shell)


def _host(array):
    return array.get() if hasattr(array, "get") else array
