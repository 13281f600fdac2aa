# SPDX-License-Identifier: GPL-3.0-or-later
"""Images and groups of any grey scale come to that of the map."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from cryoralib_plugin.contract.results import ResultPaths
from cryoralib_plugin.fourier.band import FourierBand
from cryoralib_plugin.geometry.rotations import angle_between
from cryoralib_plugin.io.mrc import read_mrc
from cryoralib_plugin.io.round_files import RoundFiles
from cryoralib_plugin.particles.table import ParticleTable
from cryoralib_plugin.refine3d.intensity import group_scales, norms, with_grey_scale
from cryoralib_plugin.refine3d.round import empty_sums
from cryoralib_plugin.refine3d.run import run
from cryoralib_plugin.refine3d.schedule import Step
from cryoralib_plugin.refine3d.start import StartMaps, state_of_map
from cryoralib_plugin.refine3d.state import DEFOCUS, GLOBAL, LOCAL
from cryoralib_plugin.refine3d.sums import POWER_UNIT
from tests.reference.known_poses import posed_blobs, with_parameters

BOX, N, ROUNDS = 32, 320, 4
GROUP = np.arange(N) // 2 % 4
SCALE = np.array([0.5, 1.0, 1.0, 2.0])
INTENSITY = np.exp(0.25 * np.random.default_rng(7).normal(size=N))
LOCAL_ONLY = {
    "particle_diameter_angst": 75.0, "initial_resolution_angst": 12.0, "global_search": False,
    "shift_std_px": 2.0, "reference_scale_known": True, "patience_rounds": 9,
    "maximum_rounds": ROUNDS, "scale_correction": True,
}  # fmt: skip


def posed_in_groups(**flat):
    columns = {"rlnGroupNumber": GROUP + 1}
    return posed_blobs(
        N, BOX, intensity=SCALE[GROUP] * INTENSITY, columns=columns, **{**LOCAL_ONLY, **flat}
    )


def refined(posed, folder):
    """Run a task to its end; return the last state, the files of the run and the poses."""
    files, task = RoundFiles(ResultPaths(folder)), posed.task
    files.prepare()
    state, outcome = run(
        task.config, task.table, task.source, task.device, task.comm, files,
        StartMaps(posed.volume),
    )  # fmt: skip
    return state, files.paths, outcome.rotations


@pytest.fixture(scope="module")
def corrected(tmp_path_factory):
    posed = posed_in_groups()
    return posed, *refined(posed, tmp_path_factory.mktemp("corrected"))


def _sums(cross, power, counts):
    return SimpleNamespace(cross=cross, reference_power=power, counts=np.array(counts))


def test_scales_of_groups_are_relative_and_bounded():
    counts, power = [[30, 30, 30, 4]] * 2, np.full((2, 4), 1000)
    sums = _sums(power * np.array([1.0, 2.0, 50.0, 3.0]), power, counts)
    np.testing.assert_allclose(group_scales(sums, np.ones(4)), [0.5, 1.0, 5.0, 1.0])
    # Sums are relative to the scales they were made with.
    again = group_scales(_sums(power, power, counts), np.array([0.5, 1.0, 5.0, 1.0]))
    np.testing.assert_allclose(again, [0.5, 1.0, 5.0, 1.0])
    nothing = _sums(power, np.zeros((2, 4)), counts)
    np.testing.assert_array_equal(group_scales(nothing, np.ones(4)), np.ones(4))


def test_norms_bring_images_to_the_middle_of_their_half_and_group():
    half, group = np.arange(200) % 2, (np.arange(200) >= 170).astype(int)
    power = np.where(half == 1, 9.0, 1.0) * np.where(group == 1, 4.0, 1.0)
    power[:6] *= [4.0, 4.0, 1e3, 1e3, 1e-3, 1e-3]
    residual = np.rint(power / POWER_UNIT).astype(np.int64)
    residual[8] = 0
    before = np.ones(200)
    before[8] = 1.25
    found = norms(residual, before, half, group)
    np.testing.assert_allclose(found[:8], [0.5, 0.5, 0.5, 0.5, 2.0, 2.0, 1.0, 1.0])
    # Not seen: as before. Fifteen of a group and half: as the half.
    assert found[8] == 1.25
    np.testing.assert_allclose(found[9:170], 1.0)
    np.testing.assert_allclose(found[170:], 0.5)
    # Images that cannot be mended do not drive the others from round to round.
    left = np.rint(residual * found**2).astype(np.int64)
    np.testing.assert_allclose(norms(left, found, half, group), found, rtol=1e-6)


def test_grey_scales_belong_to_images_and_to_the_map_they_are_compared_with():
    task = posed_in_groups().task
    noise = np.random.default_rng(1).uniform(1.0, 2.0, (2, 4, BOX // 2 + 1))
    state, band = state_of_map(task, np.ones((BOX,) * 3), noise), FourierBand.between(BOX, 0, 9)
    norm = np.random.default_rng(2).uniform(0.5, 2.0, N)
    greys = replace(state, norm=norm, group_scale=SCALE)
    one = np.ones((N, 1))
    for half in (0, 1):
        for (chosen, plain), (_, scaled) in zip(
            task.batches(half, state, band), task.batches(half, greys, band)
        ):
            np.testing.assert_allclose(
                scaled.spectra, plain.spectra * norm[chosen][:, None], rtol=1e-4, atol=1e-4
            )
            np.testing.assert_allclose(
                scaled.ctf(one[chosen])[:, 0],
                plain.ctf(one[chosen])[:, 0] * SCALE[GROUP[chosen]][:, None],
                rtol=1e-5,
            )


def test_nothing_is_corrected_in_the_first_round_nor_images_in_the_global_stage():
    task = posed_in_groups().task
    state = state_of_map(task, np.ones((BOX,) * 3), np.ones((2, 4, BOX // 2 + 1)))
    sums = empty_sums(task, state, FourierBand.between(BOX, 0, 9))
    sums.residual[:] = np.rint(INTENSITY**2 / POWER_UNIT)

    def sizes(step, task=task):
        found = with_grey_scale(state, task, sums, step)
        return len(found.group_scale), len(found.norm)

    assert sizes(Step(1, LOCAL, 6, 9)) == (0, 0)
    assert sizes(Step(2, GLOBAL, 6, 9)) == (4, 0)
    assert sizes(Step(2, LOCAL, 6, 9)) == sizes(Step(5, DEFOCUS, 6, 9)) == (4, N)
    plain = with_parameters(task, "reconstruction", norm_correction=False, scale_correction=False)
    assert sizes(Step(2, LOCAL, 6, 9), plain) == (0, 0)
    one = with_parameters(task, "reconstruction", noise_by_group=False)
    assert sizes(Step(2, LOCAL, 6, 9), replace(one, n_groups=1)) == (0, N)


def test_intensities_of_particles_and_groups_are_recovered(corrected):
    posed, state, paths, _ = corrected
    assert state.iteration == ROUNDS
    np.testing.assert_allclose(state.group_scale, SCALE, rtol=0.06)
    model = json.loads(paths.model_json(ROUNDS).read_text())
    assert model["group_scales"] == state.group_scale.tolist()
    # RELION divides images by its column.
    column = ParticleTable.read(paths.data_star(ROUNDS)).particles["rlnNormCorrection"]
    np.testing.assert_allclose(1.0 / column.to_numpy(), state.norm, rtol=1e-12)
    left = np.log(state.norm * INTENSITY)
    middle = pd.Series(left).groupby([GROUP, posed.task.half]).transform("median")
    apart = np.abs(left - middle)
    # A residual of 304 complex terms tells the noise to 1 / (2 sqrt(304)) = 2.9 %.
    assert 1.4826 * np.median(apart) < 0.04 and np.mean(apart < 0.15) > 0.98
    assert np.log(INTENSITY).std() > 0.2
    middle = [np.median(INTENSITY[GROUP == group]) for group in range(4)]
    noise = state.noise_power[:, :, 4:14].mean(axis=(0, 2)) / posed.noise_power
    np.testing.assert_allclose(noise, (SCALE * middle) ** 2, rtol=0.12)


def test_the_map_has_the_grey_scale_of_the_particle_in_the_middle(corrected, tmp_path):
    posed, _, *found = corrected
    alike = refined(posed_blobs(N, BOX, **LOCAL_ONLY), tmp_path / "alike")[1:]
    plain = posed_in_groups(norm_correction=False, scale_correction=False)
    unlike = refined(plain, tmp_path / "unlike")[1:]
    truth = posed.volume
    kept = np.abs(truth) > 0.1 * truth.max()

    def compared(paths, rotations):
        halves = [read_mrc(paths.unfiltered_half_mrc(ROUNDS, half, 1))[0] for half in (1, 2)]
        mean = 0.5 * (halves[0] + halves[1])
        amplitude = np.vdot(truth[kept], mean[kept]) / np.vdot(truth[kept], truth[kept])
        return amplitude, np.median(angle_between(rotations, posed.task.table.poses3d()[0]))

    amplitude, angle_deg = compared(*found)
    of_alike, best_deg = compared(*alike)
    assert amplitude / np.median(INTENSITY) == pytest.approx(of_alike, rel=0.05)
    # Poses are as good as those of particles of one intensity, and would be worse without.
    assert angle_deg < 1.15 * best_deg
    assert compared(*unlike)[1] > 1.25 * best_deg


def test_a_continued_run_has_the_same_bits_in_any_batches(corrected, tmp_path):
    expected = corrected[1]
    refined(posed_in_groups(maximum_rounds=3, batch_size=7), tmp_path)
    found = refined(posed_in_groups(resume=True, batch_size=64), tmp_path)[0]
    for name in ("norm", "group_scale", "noise_power", "references"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
