# SPDX-License-Identifier: GPL-3.0-or-later
"""The program `refine3d` on small sets of known truth; benchmarks/refine3d_* has the full sizes."""

from __future__ import annotations

from argparse import Namespace

import numpy as np
import pytest

from benchmarks._cramer_rao import cramer_rao, noise_of_residuals
from benchmarks._refine3d import (
    errors,
    particles_of,
    poses_of,
    reconstructed,
    refine,
    shell_to_truth,
    simulated,
    with_true_map,
)
from benchmarks.refine3d_defocus import AS_THEY_ARE, spoilt
from cryoralib_plugin.fourier.band import FourierBand
from cryoralib_plugin.fourier.masks3d import soft_sphere
from cryoralib_plugin.io.mrc import read_mrc
from cryoralib_plugin.simulate.map_molecule import map_molecule

BOX, PIXEL, DIAMETER = 32, 5.0, 110.0
PLAIN = Namespace(ranks=0, threads=2, set=[])
SET = {
    "box_size_px": BOX, "pixel_size_angst": PIXEL, "object_diameter_angst": DIAMETER,
    "blob_sigma_angst": 4.5, "shift_max_px": 2, "bfactor_angst2": 0, "random_seed": 4,
}  # fmt: skip
pytestmark = pytest.mark.slow
KNOWN = {"symmetry": "C1", "particle_diameter_angst": 130, "shift_std_px": 2}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("truth")


@pytest.fixture(scope="module")
def refined(folder):
    """A set refined from its molecule at 40 A; a fifth of the images are junk."""
    images = simulated(folder / "set", n_particles=250, snr=3, **SET, junk_fraction=0.2)
    run = refine(
        images / "run", PLAIN, particles_file=images / "particles.star",
        reference_file=images / "phantom.mrc", initial_resolution_angst=40, **KNOWN,
    )  # fmt: skip
    return images, run


def kinds_of(images):
    return particles_of(images / "truth.star")["cryoralibImageKind"].to_numpy()


def test_poses_and_map_are_found_from_a_coarse_start(refined):
    images, run = refined
    real = kinds_of(images) == "particle"
    truth = poses_of(particles_of(images / "truth.star")[real])
    apart = errors(poses_of(run.particles()[real]), truth)
    assert apart.within_10 >= 0.95
    cutoff = int(run.metrics.cutoff_px.iloc[-1])
    band = FourierBand.between(BOX, 1, cutoff)
    data, true_map = (read_mrc(images / name)[0] for name in ("particles.mrcs", "phantom.mrc"))
    molecule = map_molecule(true_map, PIXEL)
    noise = noise_of_residuals(data[real], molecule, truth, band, PIXEL)
    bound = cramer_rao(molecule, truth, noise, band, PIXEL)
    # The bound is that of a perfect map; a hundred particles in a half make none.
    assert np.median(apart.angle_deg) <= 2.5 * bound.median_angle_deg()
    mask = soft_sphere(BOX, 12, 3)
    best = shell_to_truth(reconstructed(data[real], truth, PIXEL, 15), true_map, mask)
    assert shell_to_truth(0.5 * sum(run.halves()), true_map, mask) >= best - 1


def test_with_the_true_map_deviations_are_those_of_the_errors(refined):
    images, _ = refined
    run = with_true_map(
        images / "true_map", PLAIN, images / "truth.star", images / "phantom.mrc",
        initial_resolution_angst=BOX * PIXEL / 12, reference_scale_known=True, **KNOWN,
    )  # fmt: skip
    real = kinds_of(images) == "particle"
    rows = run.particles()[real]
    apart = errors(poses_of(rows), poses_of(particles_of(images / "truth.star")[real]))
    near = apart.angle_deg < 10
    angle = rows["cryoralibAngularStdDeg"].to_numpy()
    ratio = np.sqrt((apart.angle_deg[near] ** 2).mean() / (3 * (angle[near] ** 2).mean()))
    assert 0.7 < ratio < 1.5
    shift = rows["cryoralibShiftStdPx"].to_numpy()
    ratio = np.sqrt((apart.shift_px[near] ** 2).mean() / (2 * (shift[near] ** 2).mean()))
    assert 0.7 < ratio < 1.8


def test_empty_images_score_low(refined):
    images, run = refined
    score, kinds = run.particles()["rlnParticleFigureOfMerit"].to_numpy(), kinds_of(images)
    of_real = np.median(score[kinds == "particle"])
    assert of_real == pytest.approx(1.0, abs=0.25)
    assert np.median(score[kinds == "empty"]) < 0.7 * of_real


def test_wrong_defoci_are_mended(folder):
    images = simulated(
        folder / "defocus", n_particles=400, snr=16, **{**SET, "pixel_size_angst": 4.0},
        defocus_min_angst=8000, defocus_max_angst=20000,
    )  # fmt: skip
    cutoff = BOX * 4.0 / 11
    run = refine(
        images / "run", PLAIN, particles_file=spoilt(images), reference_scale_known=True,
        reference_file=images / "phantom.mrc", initial_resolution_angst=cutoff,
        highest_resolution_angst=cutoff, start_from_poses=True, global_search=False,
        local_search=False, defocus_search=True, defocus_std=0.03, maximum_rounds=3,
        **AS_THEY_ARE, **{**KNOWN, "particle_diameter_angst": 120},
    )  # fmt: skip
    truth = poses_of(particles_of(images / "truth.star"))
    found = poses_of(run.particles())
    left = found.ctf.defocus_u_angst / truth.ctf.defocus_u_angst - 1.0
    molecule, band = (
        map_molecule(*read_mrc(images / "phantom.mrc")),
        FourierBand.between(BOX, 1, 11),
    )
    noise = noise_of_residuals(read_mrc(images / "particles.mrcs")[0], molecule, truth, band, 4.0)
    bound = cramer_rao(molecule, truth, noise, band, 4.0, with_defocus=True).defocus_rms()
    assert np.sqrt((left**2).mean()) <= 1.3 * bound
    assert bound < 0.012


def test_a_symmetric_molecule_is_refined_in_its_symmetry(folder, shared_data):
    model = shared_data / "maps" / "groel_EMD-1997_D7_2.02A_100.mrc"
    images = simulated(
        folder / "D7", map_file=model, n_particles=60, box_size_px=36, pixel_size_angst=5.6,
        snr=0.5, shift_max_px=1,
    )  # fmt: skip
    run = refine(
        images / "run", PLAIN, particles_file=images / "particles.star", reference_file=model,
        symmetry="D7", initial_resolution_angst=40, particle_diameter_angst=170, shift_std_px=1,
        maximum_rounds=4,
    )  # fmt: skip
    truth = poses_of(particles_of(images / "truth.star"))
    apart = errors(poses_of(run.particles()), truth, "D7")
    assert apart.within_10 >= 0.95
    assert np.median(apart.angle_deg) < 3.0
