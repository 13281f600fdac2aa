# SPDX-License-Identifier: GPL-3.0-or-later
"""Simulated particles: what SNR means, what is drawn, and that particle i is particle i."""

from __future__ import annotations

import numpy as np
import pytest

from cryoralib_plugin.contract._codec import from_flat
from cryoralib_plugin.contract.simulate import SimulateConfig
from cryoralib_plugin.fourier.masks import circular_mask
from cryoralib_plugin.geometry.rings import RingLayout
from cryoralib_plugin.kernels.ring_match import MatchPlan, match_rings, prepare_references
from cryoralib_plugin.simulate import simulate_views
from cryoralib_plugin.simulate.scene import disk_variance, make_scene, render_images, render_signal
from cryoralib_plugin.simulate.truth import CONTAMINATION, EMPTY, PARTICLE, draw_truth

SMALL = {"box_size_px": 48, "pixel_size_angst": 4.0, "blob_sigma_angst": 5.0}


def config_of(**settings) -> SimulateConfig:
    return from_flat(SimulateConfig, {**SMALL, **settings})


@pytest.fixture(scope="module")
def views():
    return simulate_views(4, 40, seed=3, snr=0.3, mirrored_fraction=0.5, **SMALL)


@pytest.mark.parametrize("snr", [0.05, 2.0])
@pytest.mark.parametrize("view_choice", ["discrete", "uniform", "preferred"])
def test_snr_is_signal_variance_after_ctf_over_noise_variance_in_the_disk(snr, view_choice):
    config = config_of(
        snr=snr, view_choice=view_choice, n_views=5, shift_max_px=0.0, ramp_max=0.0,
        intensity_variation=0.0, junk_fraction=0.0, noise_rise=5.0, n_particles=500,
        particles_per_micrograph=1,
    )  # fmt: skip
    scene = make_scene(config)
    truth = draw_truth(config, np.arange(500))
    signal = render_signal(scene, truth.poses, truth.ctf, truth.molecule)
    noise = render_images(scene, truth, signal) - signal
    inside = circular_mask(48, config.disk_radius_px) > 0
    ratio = signal[:, inside].var(axis=1).mean() / noise[:, inside].var(axis=1).mean()
    assert ratio == pytest.approx(snr, rel=0.03)


def test_snr_of_one_view_at_one_defocus_is_exact():
    config = config_of(
        snr=0.1, view_choice="discrete", n_views=1, shift_max_px=0.0, apply_ctf=False
    )
    scene = make_scene(config)
    truth = draw_truth(config, np.arange(50))
    variance = disk_variance(render_signal(scene, truth.poses, truth.ctf, truth.molecule), config)
    # The variance of one projection changes a little as it turns on the pixel grid.
    assert variance.mean() / scene.noise_variance == pytest.approx(0.1, rel=1e-3)


def test_particle_depends_on_its_id_alone():
    def images_of(n: int, ids: np.ndarray) -> np.ndarray:
        config = config_of(n_particles=n, view_choice="discrete", junk_fraction=0.3)
        scene = make_scene(config)
        truth = draw_truth(config, ids)
        return render_images(
            scene, truth, render_signal(scene, truth.poses, truth.ctf, truth.molecule)
        )

    everything = images_of(60, np.arange(60))
    some = np.array([59, 3, 17])
    np.testing.assert_allclose(images_of(1000, some), everything[some], atol=2e-6)


def test_seeds_differ_and_repeat(views):
    again = simulate_views(4, 40, seed=3, snr=0.3, mirrored_fraction=0.5, **SMALL)
    np.testing.assert_array_equal(again.images, views.images)
    other = simulate_views(4, 40, seed=4, snr=0.3, mirrored_fraction=0.5, **SMALL)
    assert np.abs(other.images - views.images).mean() > 0.5


def test_noise_is_the_image_less_the_signal(views):
    noise = views.images - views.signal
    assert noise.mean() == pytest.approx(0.0, abs=0.01)
    assert noise.std() == pytest.approx(1.0, rel=0.01)
    # No trace of the signal is left in it.
    assert abs(float((noise * views.signal).sum())) < 4 * np.linalg.norm(views.signal)


def test_matching_against_the_true_views_finds_view_hand_angle_and_shift(views):
    shifts = np.stack(np.meshgrid(np.arange(-4.0, 5.0), np.arange(-4.0, 5.0)), axis=-1)
    plan = MatchPlan(
        rings=RingLayout.from_radii(1, 19),
        shift_grid_px=shifts.reshape(-1, 2),
        mirror=True,
        normalise_rings=True,
        refine_shift=True,
    )
    references = prepare_references(views.references, plan, normalise=True)
    clean = simulate_views(
        4, 40, seed=3, snr=0.3, mirrored_fraction=0.5, apply_ctf=False, bfactor_angst2=0.0, **SMALL
    )
    matches = match_rings(clean.signal, np.zeros((160, 2)), references, plan)
    np.testing.assert_array_equal(matches.reference, clean.view)
    np.testing.assert_array_equal(matches.poses.mirror, clean.poses.mirror)
    assert 0.3 < clean.poses.mirror.mean() < 0.7
    turn = (matches.poses.psi_deg - clean.poses.psi_deg + 180.0) % 360.0 - 180.0
    assert np.sqrt(np.mean(turn**2)) < 0.3
    assert np.sqrt(np.mean((matches.poses.shift_px - clean.poses.shift_px) ** 2)) < 0.1


def test_shifts_and_optics_are_within_their_limits():
    config = config_of(shift_max_px=2.0, astigmatism_max_angst=800.0, particles_per_micrograph=20)
    truth = draw_truth(config, np.arange(2000))
    assert np.abs(truth.poses.shift_px).max() <= 2.0
    assert truth.poses.shift_px.std() == pytest.approx(2.0 / np.sqrt(3.0), rel=0.03)
    difference = truth.ctf.defocus_u_angst - truth.ctf.defocus_v_angst
    assert difference.min() >= 0.0 and difference.max() <= 800.0
    mean = 0.5 * (truth.ctf.defocus_u_angst + truth.ctf.defocus_v_angst)
    assert 9000.0 < mean.min() and mean.max() < 26000.0
    of_micrograph = mean.reshape(100, 20)
    assert of_micrograph.std(axis=1).mean() == pytest.approx(150.0, rel=0.1)
    assert of_micrograph.mean(axis=1).mean() == pytest.approx(17500.0, rel=0.02)


def test_junk_has_its_share_and_shows_no_signal():
    config = config_of(junk_fraction=0.4, ramp_max=0.0, intensity_variation=0.0, snr=5.0)
    truth = draw_truth(config, np.arange(2000))
    for kind in (EMPTY, CONTAMINATION):
        assert (truth.kind == kind).mean() == pytest.approx(0.2, abs=0.03)
    few = draw_truth(config, np.arange(60))
    scene = make_scene(config)
    signal = render_signal(scene, few.poses, few.ctf, few.molecule)
    images = render_images(scene, few, signal)
    without = render_images(scene, few, 0.0 * signal)
    np.testing.assert_array_equal(images[few.kind != PARTICLE], without[few.kind != PARTICLE])
    assert without[few.kind == EMPTY].std() == pytest.approx(1.0, rel=0.05)
    assert without[few.kind == CONTAMINATION].max(axis=(1, 2)).min() > 3.0


def test_intensity_has_mean_one_and_its_spread():
    truth = draw_truth(config_of(intensity_variation=0.3), np.arange(20000))
    assert truth.intensity.mean() == pytest.approx(1.0, rel=0.01)
    assert truth.intensity.std() == pytest.approx(0.3, rel=0.05)
    slope = np.linalg.norm(truth.ramp, axis=1)
    assert slope.max() <= 0.3 and slope.mean() == pytest.approx(0.15, rel=0.03)
