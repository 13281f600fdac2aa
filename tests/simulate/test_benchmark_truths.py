# SPDX-License-Identifier: GPL-3.0-or-later
"""What the benchmarks of the refinement measure with: the Cramer-Rao bound and a map's motion."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks._cramer_rao import Truth3D, _spectra, cramer_rao, noise_of_residuals, with_factor
from benchmarks._refine3d import errors, gauge_of
from cryoralib_plugin.fourier.band import FourierBand, band_images
from cryoralib_plugin.fourier.fsc import fsc
from cryoralib_plugin.geometry.rotations import (
    from_axis_angle,
    multiply,
    normalise,
    to_matrices,
    to_rotation_vectors,
)
from cryoralib_plugin.geometry.symmetry import symmetry_operators
from cryoralib_plugin.optics.ctf import CtfParameters, ctf_in_band
from cryoralib_plugin.simulate.map_molecule import map_molecule
from cryoralib_plugin.simulate.phantom import density_map, make_phantom

BOX, PIXEL, N = 32, 5.0, 60
BAND = FourierBand.between(BOX, 1, 12)


@pytest.fixture(scope="module")
def phantom():
    return make_phantom(2, diameter_angst=110.0, n_domains=4, sigma_angst=5.0)


@pytest.fixture(scope="module")
def truth():
    rng = np.random.default_rng(1)
    one = np.ones(N)
    defocus = rng.uniform(8000, 20000, N)
    optics = CtfParameters(
        defocus, defocus - 500, 180 * rng.random(N), 300 * one, 2.7 * one, 0.1 * one, 0 * one
    )
    return Truth3D(normalise(rng.normal(size=(N, 4))), rng.uniform(-2, 2, (N, 2)), optics)


def spectra_of(phantom, truth):
    transfer = ctf_in_band(truth.ctf, BAND, PIXEL)
    return transfer * _spectra(phantom, truth.rotations, truth.shift_px, BAND, PIXEL)


def test_the_bound_is_what_the_best_fit_reaches(phantom, truth):
    # One step of Newton's method from the truth: at this noise the likelihood is quadratic.
    noise = np.full(13, 2e-6)
    bound = cramer_rao(phantom, truth, noise, BAND, PIXEL, with_defocus=True)
    model, step = spectra_of(phantom, truth), 1e-2
    slopes = []
    for number in range(6):
        ends = []
        for sign in (step, -step):
            turned, moved, ctf = truth.rotations, truth.shift_px.copy(), truth.ctf
            if number < 3:
                turned = multiply(turned, from_axis_angle(np.eye(3)[number], sign))
            elif number < 5:
                moved[:, number - 3] += sign
            else:
                ctf = with_factor(ctf, 1 + sign)
            ends.append(spectra_of(phantom, Truth3D(turned, moved, ctf)))
        slopes.append((ends[0] - ends[1]) / (2 * step))
    slopes = np.stack(slopes, axis=1)
    rng, found = np.random.default_rng(3), []
    for _ in range(40):
        left = rng.normal(scale=2e-6**0.5, size=(*model.shape, 2)) @ np.array([1.0, 1j])
        gradient = np.einsum("nik,nk->ni", slopes.conj(), left).real / 2e-6
        found.append(np.einsum("nij,nj->ni", bound.covariance, gradient))
    found = np.array(found)
    wanted = np.sqrt(bound.covariance[:, range(6), range(6)].mean(axis=0))
    np.testing.assert_allclose(np.sqrt((found**2).mean(axis=(0, 1))), wanted, rtol=0.06)
    median = np.median(np.linalg.norm(found[..., :3], axis=-1))
    assert bound.median_angle_deg() == pytest.approx(median, rel=0.05)
    assert bound.median_shift_px() == pytest.approx(
        np.median(np.linalg.norm(found[..., 3:5], axis=-1)), rel=0.05
    )
    assert bound.defocus_rms() == pytest.approx(found[..., 5].std(), rel=0.06)


def test_an_unknown_defocus_makes_poses_no_better(phantom, truth):
    noise = np.full(13, 2e-6)
    without, with_it = (
        cramer_rao(phantom, truth, noise, BAND, PIXEL, with_defocus=w).covariance[:, :5, :5]
        for w in (False, True)
    )
    assert (np.linalg.eigvalsh(with_it - without) > -1e-9).all()


def test_the_noise_is_what_true_projections_leave(phantom, truth):
    rng = np.random.default_rng(5)
    # Without the terms that an even box has no partner for, images are their spectra in the band.
    images = band_images(3.0 * spectra_of(phantom, truth).astype(np.complex64), BAND)
    noisy = images + 0.01 * rng.normal(size=images.shape)
    found = noise_of_residuals(noisy, phantom, truth, BAND, PIXEL)
    np.testing.assert_allclose(found[2:12], 0.5 * BOX**2 * 0.01**2, rtol=0.2)


@pytest.mark.parametrize("symmetry", ["C1", "O"])
def test_the_motion_of_a_whole_map_is_found_and_taken_away(phantom, truth, symmetry):
    rng = np.random.default_rng(6)
    turn = from_axis_angle(np.array([1.0, 2.0, -1.0]), 2.5)
    shift = np.array([0.7, -0.4, 0.2])
    jitter = from_axis_angle(rng.normal(size=(N, 3)), 0.2)
    mates = symmetry_operators(symmetry)[rng.integers(len(symmetry_operators(symmetry)), size=N)]
    rotations = multiply(turn, multiply(mates, multiply(truth.rotations, jitter)))
    found = Truth3D(rotations, truth.shift_px + (shift @ to_matrices(rotations))[:, :2], truth.ctf)
    plain = errors(found, truth, symmetry)
    assert 1.5 < np.median(plain.angle_deg) < 3.5 and np.median(plain.shift_px) > 0.3
    gauge = gauge_of(found, truth, symmetry)
    np.testing.assert_allclose(gauge.shift_px, shift, atol=0.02)
    apart = to_rotation_vectors(multiply(gauge.rotation, [1, -1, -1, -1] * turn))
    assert np.linalg.norm(apart) < 0.1
    free = errors(found, truth, symmetry, gauge)
    assert np.median(free.angle_deg) == pytest.approx(0.2, abs=0.05)
    assert free.shift_px.max() < 0.02


def test_a_moved_map_explains_the_moved_poses(phantom, truth):
    # The moved map seen from the found poses is the true one seen from the true poses.
    turn, shift = from_axis_angle(np.array([0.3, 1.0, 0.2]), 4.0), np.array([1.5, -0.5, 1.0])
    rotations = multiply(turn, truth.rotations)
    found = Truth3D(rotations, truth.shift_px + (shift @ to_matrices(rotations))[:, :2], truth.ctf)
    volume = density_map(phantom, BOX, PIXEL)
    moved = gauge_of(found, truth).moved(volume)
    assert fsc(moved, volume)[8] < 0.9
    expected = _spectra(phantom, truth.rotations, truth.shift_px, BAND, PIXEL)
    molecule = map_molecule(moved, PIXEL)
    seen = _spectra(molecule, found.rotations, found.shift_px, BAND, PIXEL)
    assert np.linalg.norm(seen - expected) / np.linalg.norm(expected) < 0.02
