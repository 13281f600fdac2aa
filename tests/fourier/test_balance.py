# SPDX-License-Identifier: GPL-3.0-or-later
"""Weight balancing makes the density of slices even, and changes next to nothing in the map."""

from __future__ import annotations

import numpy as np
import pytest

from cryoralib_plugin.fourier.balance import (
    _convolve_27,
    _kernel_response,
    balanced,
    balanced_by_transform,
    kernel_values,
)
from cryoralib_plugin.fourier.band import FourierBand, band_spectra
from cryoralib_plugin.fourier.fsc import fsc, grid_fsc
from cryoralib_plugin.fourier.reconstruction import divided, floored, reconstruct
from cryoralib_plugin.fourier.volume import grid_radius
from cryoralib_plugin.kernels.backproject import SliceSums, Views, backproject, completed
from cryoralib_plugin.kernels.device import CpuDevice
from tests.reference.fourier_grid import random_rotations
from tests.reference.gaussian_map import blobs

BOX, RADIUS = 32, 12


@pytest.fixture(scope="module")
def sums():
    n = 200
    rotations = random_rotations(n, 1)
    volume, images = blobs(BOX, rotations, np.zeros((n, 2)))
    noise = np.random.default_rng(2).normal(scale=images.std(), size=images.shape)
    band = FourierBand.between(BOX, 0, RADIUS)
    spectra = band_spectra((images + noise).astype(np.float32), band)
    inserted = SliceSums.zeros(band, CpuDevice(), data_magnitude=float(np.abs(spectra).mean()))
    views = Views(rotations, np.arange(n), np.ones(n, np.float32))
    backproject(inserted, spectra, np.ones(spectra.shape, np.float32), views, band)
    data, weights = completed(inserted)
    return volume, data, floored(weights, 2, 0.02)


def test_the_kernel_is_the_modified_kaiser_bessel():
    # The published constants of a = 1.9, alpha = 15.
    np.testing.assert_allclose(kernel_values(), [0.557769, 0.064133, 0.004700, 0.000128], atol=1e-6)


def test_sums_over_neighbours_are_a_convolution():
    rng = np.random.default_rng(3)
    whole = rng.random((7, 7, 7))
    whole = (whole + whole[::-1, ::-1, ::-1]).astype(np.float32)
    framed = np.pad(whole, 1)
    values = kernel_values()
    expected = sum(
        values[abs(z) + abs(y) + abs(x)] * framed[1 + z : 8 + z, 1 + y : 8 + y, 1 + x : 8 + x]
        for z in (-1, 0, 1)
        for y in (-1, 0, 1)
        for x in (-1, 0, 1)
    )
    np.testing.assert_allclose(_convolve_27(whole[:, :, 3:]), expected[:, :, 3:], rtol=1e-5)


def test_the_response_is_the_kernels_transform():
    # Against a sum over a fine radial grid of the kernel: 4 pi r^2 sinc(2 pi rho r).
    radius = np.linspace(0.0, 1.9, 4001)[1:]
    kernel = np.i0(15.0 * np.sqrt(np.maximum(1.0 - (radius / 1.9) ** 2, 0.0)))
    rho = np.array([0.125, 0.25, 0.5])
    response = _kernel_response(16)
    expected = [(kernel * radius**2 * np.sinc(2 * k * radius)).sum() for k in rho]
    expected = np.array(expected) / (kernel * radius**2).sum()
    np.testing.assert_allclose(response[8, 8, [6, 4, 0]], expected, rtol=1e-3)
    assert response[8, 8, 8] == 1.0 and response[8, 8, 0] == pytest.approx(0.342, abs=1e-3)


def test_density_becomes_even(sums):
    _, _, weights = sums

    used = grid_radius(2 * RADIUS) <= 2 * RADIUS - 1

    def unevenness(divisor):
        spread = _convolve_27(np.where(used, weights / np.where(used, divisor, 1.0), 0.0))
        return np.average(np.abs(spread - 1)[used], weights=weights[used])

    # Only the rim, where neighbours are missing, is uneven before.
    start, few, many = (unevenness(balanced(weights, n_iterations=n)) for n in (0, 3, 15))
    assert start > 0.01
    assert few < 0.5 * start
    assert many < 0.1 * start


def test_both_forms_agree_and_the_map_is_that_without(sums):
    volume, data, weights = sums
    maps = [
        reconstruct(data, divisor)
        for divisor in (weights, balanced(weights), balanced_by_transform(weights))
    ]
    size = np.linalg.norm(maps[0])
    assert np.linalg.norm(maps[1] - maps[2]) / size < 0.03
    assert fsc(maps[1], maps[2])[1 : RADIUS - 1].min() > 0.999
    assert np.linalg.norm(maps[0] - maps[1]) / size < 0.03
    against = [fsc(found, volume)[1 : RADIUS - 1] for found in maps]
    np.testing.assert_allclose(against[1], against[0], atol=0.01)


def test_grids_correlate_as_their_maps(sums, xp):
    _, data, weights = sums
    spectrum = divided(data, weights)
    same = grid_fsc(spectrum, spectrum)
    np.testing.assert_allclose(same[:RADIUS], 1.0, atol=1e-6)
    curve = fsc(xp.asarray(reconstruct(data, weights)), xp.asarray(reconstruct(data, weights)))
    np.testing.assert_allclose(np.asarray(curve.tolist())[:RADIUS], 1.0, atol=1e-9)


def test_noise_does_not_correlate():
    rng = np.random.default_rng(5)
    curve = fsc(*rng.normal(size=(2, 24, 24, 24)))
    shell = np.arange(1, 12)
    # About 4 pi s^2 terms a shell, of which half are independent.
    assert (np.abs(curve[1:12]) < 4 / np.sqrt(2 * np.pi * shell**2)).all()
