# SPDX-License-Identifier: GPL-3.0-or-later
"""The particle filter against exact projections of little and of much noise: poses and defoci."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from benchmarks._cramer_rao import Truth3D, cramer_rao, with_factor
from cryoralib_plugin.contract.particle_filter import ParticleFilter
from cryoralib_plugin.fourier.band import FourierBand
from cryoralib_plugin.fourier.transform import backward, forward
from cryoralib_plugin.fourier.volume import fourier_volume
from cryoralib_plugin.geometry.acg import RotationSpread, ratio_of_scale
from cryoralib_plugin.geometry.rotations import angle_between, normalise, to_matrices
from cryoralib_plugin.optics.ctf import CtfParameters, ctf_2d
from cryoralib_plugin.refine3d.local_search import Proposal, Search, local_search
from cryoralib_plugin.refine3d.particle_data import particle_data
from cryoralib_plugin.refine3d.posterior import Points, weigh
from cryoralib_plugin.simulate.map_molecule import map_molecule
from tests.reference.gaussian_map import blobs

BOX, PIXEL, N, CUTOFF, ERROR = 40, 4.0, 48, 14, 0.03
BAND = FourierBand.between(BOX, 1, CUTOFF)
LITTLE, MUCH = 0.25, 1.5


def search(searches_defocus):
    settings = dataclasses.replace(ParticleFilter(), shift_std_px=2.0, defocus_std=ERROR)
    return Search(settings, 5, 1, searches_defocus)


@pytest.fixture(scope="module")
def clean():
    """Exact projections with their CTF, the truth and the map."""
    rng = np.random.default_rng(3)
    rotations, shifts = normalise(rng.normal(size=(N, 4))), rng.normal(size=(N, 2))
    volume, images = blobs(BOX, to_matrices(rotations), shifts, n_blobs=40, reach_px=11)
    defocus = rng.uniform(8000, 20000, N)
    others = (np.full(N, value) for value in (0.0, 300.0, 2.7, 0.1, 0.0))
    optics = CtfParameters(defocus, defocus.copy(), *others)
    images = backward(forward(images) * ctf_2d(optics, BOX, PIXEL), BOX)
    return images.astype(np.float32), Truth3D(rotations, shifts, optics), volume


def noisy(clean, relative):
    """Images and the power of their noise, whose deviation is a share of the signal's."""
    images, _, _ = clean
    sigma = relative * images.std()
    noise = np.random.default_rng(9).normal(scale=sigma, size=images.shape)
    return images + noise.astype(np.float32), sigma**2 * BOX**2 / 2


def searched(clean, relative, optics, *, angle_deg, shift_px, searches_defocus):
    images, power = noisy(clean, relative)
    _, truth, volume = clean
    data = particle_data(
        images, np.arange(N), optics, np.full((N, BOX // 2 + 1), power), BAND, PIXEL
    )
    start = Proposal(
        RotationSpread(truth.rotations, np.full((N, 3), ratio_of_scale(angle_deg))),
        truth.shift_px, np.full((N, 2), shift_px), np.ones(N), np.full(N, ERROR),
    )  # fmt: skip
    spectrum = fourier_volume(volume, max_radius_px=CUTOFF)
    return local_search(data, spectrum, start, search(searches_defocus))


def bound(clean, relative):
    _, truth, volume = clean
    _, power = noisy(clean, relative)
    flat = np.full(BAND.n_terms, power)
    molecule = map_molecule(volume, PIXEL)
    return cramer_rao(molecule, truth, flat, BAND, PIXEL, with_defocus=True)


def test_poses_of_images_with_little_noise_are_found_from_a_wide_start(clean):
    _, truth, _ = clean
    posterior, n_phases = searched(
        clean, LITTLE, truth.ctf, angle_deg=5.0, shift_px=1.0, searches_defocus=False
    )
    error = angle_between(posterior.rotation_spread().mean, truth.rotations)
    least = bound(clean, LITTLE).median_angle_deg()
    assert np.median(error) <= 1.5 * least
    assert error.max() <= 8 * least
    assert n_phases.max() < ParticleFilter().highest_phases


@pytest.mark.parametrize("relative", [LITTLE, MUCH])
def test_wrong_defoci_are_found_as_well_as_images_allow(clean, relative):
    _, truth, _ = clean
    wrong = 1.0 + ERROR * np.where(np.arange(N) % 2, 1.0, -1.0)
    posterior, _ = searched(
        clean, relative, with_factor(truth.ctf, wrong), angle_deg=4.0, shift_px=1.0,
        searches_defocus=True,
    )  # fmt: skip
    mean, std = posterior.defocus_moments()
    rms = np.sqrt(((mean - 1.0 / wrong) ** 2).mean())
    assert rms <= 1.3 * bound(clean, relative).defocus_rms()
    assert 0.7 < rms / np.sqrt((std**2).mean()) < 1.4


def test_weights_too_small_for_a_number_still_tell_points_apart():
    shifts = np.arange(10.0)[None, :, None] * np.ones(2)
    points = Points(
        np.tile([1.0, 0.0, 0.0, 0.0], (1, 5, 1)), shifts, np.ones((1, 1)),
        np.zeros((1, 5)), np.zeros((1, 10)), np.zeros((1, 1)),
    )  # fmt: skip
    # Likelihoods fall by a factor exp(2000) from one shift to the next.
    scores = np.broadcast_to(-2000.0 * np.arange(10.0)[:, None], (1, 5, 10, 1))
    posterior = weigh(points, scores.astype(np.float32))
    np.testing.assert_allclose(np.diff(posterior.log_shift_weight[0]), -2000.0, atol=3.0)
    mean, std = posterior.shift_moments()
    assert (mean < 2.5).all()
    assert (std < 2.5).all()
