# SPDX-License-Identifier: GPL-3.0-or-later
"""Accuracy of the search on known poses, and SPARX's own results (CPU twin)."""

from __future__ import annotations

import mrcfile
import numpy as np
import pandas as pd
import pytest

from cryoralib_plugin.fourier.masks import circular_mask
from cryoralib_plugin.geometry.rings import RingLayout
from cryoralib_plugin.kernels.polar import resample_polar
from cryoralib_plugin.kernels.ring_match import (
    MatchPlan,
    match_rings,
    prepare_references,
    shift_grid,
)
from cryoralib_plugin.kernels.ring_match.references import normalised
from tests.reference.blobs import angle_difference_deg, blob_images

RINGS = RingLayout.from_radii(1, 36)


def _errors(reach_px, step_px, noise_to_signal, integer_shifts, refine, n=40, seed=1):
    """Hands right, and rms angle and shift errors, of blob images with known poses."""
    rng = np.random.default_rng(seed)
    psi, mirror = rng.uniform(0, 360, n), np.arange(n) % 2
    shifts = rng.uniform(-reach_px, reach_px, (n, 2))
    if integer_shifts:
        shifts = rng.integers(-3, 4, (n, 2)).astype(float)
    images = blob_images(90, psi, shifts, mirror)
    noise = rng.normal(size=images.shape) * np.sqrt(noise_to_signal) * images.std()
    plan = MatchPlan(RINGS, shift_grid(3, 3, step_px), refine_shift=refine)
    references = prepare_references(blob_images(90, [0.0], [(0, 0)], [0]), plan, normalise=True)
    found = match_rings((images + noise).astype("f4"), np.zeros((n, 2)), references, plan)
    angles = angle_difference_deg(found.psi_deg, psi)
    moved = np.hypot(*(found.shift_px - shifts).T)
    return (
        (found.mirror == mirror).mean(),
        np.sqrt((angles**2).mean()),
        np.sqrt((moved**2).mean()),
    )


# Twice the errors measured for a SPARX-style aligner on such objects.
@pytest.mark.parametrize(
    "reach, step, noise, integer, refine, angle_deg, shift_px",
    [
        (0.0, 1.0, 0.0, True, False, 0.008, 1e-9),
        (2.5, 1.0, 0.0, False, False, 1.02, 0.86),
        (2.5, 0.5, 0.0, False, False, 0.62, 0.41),
        (2.0, 1.0, 0.0, False, True, 0.084, 0.070),
        (0.0, 1.0, 10.0, True, False, 1.96, 0.72),
        (0.0, 1.0, 50.0, True, False, 4.72, 2.18),
    ],
)
def test_known_poses_are_found(reach, step, noise, integer, refine, angle_deg, shift_px):
    hands, angle, shift = _errors(reach, step, noise, integer, refine)
    assert hands == 1.0
    assert angle <= angle_deg
    assert shift <= shift_px


@pytest.fixture(scope="module")
def oracle(shared_data):
    folder = shared_data / "oracle"

    def load(n_references, radius):
        mask = circular_mask(90, radius) > 0
        averages = mrcfile.read(folder / f"mra_references_K{n_references}.mrcs").astype(float)
        averages -= averages[:, mask].mean(axis=1)[:, None, None]
        return mrcfile.read(folder / "mra_particles_300.mrcs"), averages, folder

    return load


def _sparx_pose(table):
    """Our psi and shift of SPARX's columns: its shift follows the rotation, ours precedes it."""
    alpha = np.radians(table.ang.to_numpy())
    x = np.cos(alpha) * table.sx - np.sin(alpha) * table.sy
    y = np.sin(alpha) * table.sx + np.cos(alpha) * table.sy
    return -table.ang.to_numpy(), np.stack([x, y], axis=1)


def _assert_sparx(found, table):
    psi, shift = _sparx_pose(table)
    np.testing.assert_array_equal(found.mirror.ravel(), table.mirror)
    np.testing.assert_allclose(found.shift_px.reshape(-1, 2), shift, atol=1e-4)
    assert angle_difference_deg(found.psi_deg.ravel(), psi).max() <= 1e-3
    np.testing.assert_allclose(found.score.ravel(), table.peak, rtol=1e-5)


@pytest.mark.parametrize(
    "name, n_references, radius, reach, step",
    [
        ("K5", 5, 36, 3, 1.0),
        ("K20", 20, 36, 3, 1.0),
        ("K5_ou30", 5, 30, 3, 1.0),
        ("K5_ts0.5_xr2", 5, 36, 2, 0.5),
    ],
)
def test_all_particles_are_assigned_as_by_sparx(oracle, name, n_references, radius, reach, step):
    images, averages, folder = oracle(n_references, radius)
    table = pd.read_csv(folder / f"sparx_mra_{name}.csv")
    plan = MatchPlan(RingLayout.from_radii(1, radius), shift_grid(reach, reach, step))
    references = prepare_references(averages, plan, normalise=False)
    found = match_rings(images, np.zeros((len(images), 2)), references, plan)
    np.testing.assert_array_equal(found.reference, table.ref)
    _assert_sparx(found, table)


@pytest.mark.parametrize("n_references", [5, 20])
def test_the_best_match_with_every_reference_is_that_of_sparx(oracle, n_references):
    images, averages, folder = oracle(n_references, 36)
    table = pd.read_csv(folder / f"sparx_mra_K{n_references}_per_reference.csv")
    plan = MatchPlan(RINGS, shift_grid(3, 3, 1))
    references = prepare_references(averages, plan, normalise=False)
    found = match_rings(images, np.zeros((len(images), 2)), references, plan, per_reference=True)
    _assert_sparx(found, table)


def test_stages_are_those_of_sparx(shared_data):
    data = np.load(shared_data / "oracle" / "sparx_intermediates.npz")
    shifts = -data["img_shift"].astype(float)
    samples = resample_polar(data["img_norm"].astype(float), shifts, RINGS)
    np.testing.assert_allclose(samples, data["img_polar"], atol=1e-4)
    np.testing.assert_allclose(normalised(samples, RINGS), data["img_normring"], atol=1e-4)
    plan = MatchPlan(RINGS, shift_grid(0, 0, 1))
    references = prepare_references(data["refs_norm"].astype(float), plan, normalise=False)
    found = match_rings(data["img_norm"], shifts, references, plan, per_reference=True)
    straight, _, mirrored, _ = np.moveaxis(data["crosrng_qn_tot_qm_tmt"], -1, 0)
    np.testing.assert_allclose(found.score, np.maximum(straight, mirrored), rtol=1e-4)
    np.testing.assert_array_equal(found.mirror, mirrored > straight)
