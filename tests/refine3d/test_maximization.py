# SPDX-License-Identifier: GPL-3.0-or-later
"""Maps from the sums of a round: as fine as the poses allow, halves apart, no class left empty."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cryoralib_plugin.contract import labels
from cryoralib_plugin.fourier.fsc import fsc, last_shell_above
from cryoralib_plugin.fourier.masks3d import soft_sphere
from cryoralib_plugin.fourier.shells import power_spectrum, shell_index
from cryoralib_plugin.geometry.rotations import to_matrices
from cryoralib_plugin.parallel.partition import rows_of_rank
from cryoralib_plugin.refine3d.cloud import PoseCloud
from cryoralib_plugin.refine3d.frame import centre_of_mass_px, drift_px, free_shift
from cryoralib_plugin.refine3d.maximization import maximization
from cryoralib_plugin.refine3d.reconstruct_known import (
    cloud_of_table,
    maps_of_poses,
    reconstruct_known,
    summed_at_poses,
)
from cryoralib_plugin.refine3d.schedule import Step
from cryoralib_plugin.refine3d.start import state_of_map
from cryoralib_plugin.refine3d.state import GLOBAL, LOCAL
from cryoralib_plugin.refine3d.sums import POWER_UNIT
from tests.reference.known_poses import posed_blobs, posed_thunder, with_parameters

BOX = 32


@pytest.fixture(scope="module")
def posed():
    return posed_blobs(300, BOX, particle_diameter_angst=75.0)


def _sums(task, state):
    return summed_at_poses(task, state, cloud_of_table(task), lambda n: None)


def _state(posed, n_classes=1):
    task = with_parameters(posed.task, "reference", n_classes=n_classes)
    noise = np.full((2, 1, BOX // 2 + 1), posed.noise_power)
    return task, state_of_map(task, posed.volume, noise)


def test_true_poses_of_thunders_case_give_its_map_to_shell_20(shared_data):
    posed = posed_thunder(shared_data / "oracle" / "thunder_case", map_mask="sphere")
    state, maps = reconstruct_known(posed.task)
    mean = maps.unfiltered_halves[0].mean(axis=0)
    curve = fsc(mean, posed.volume, soft_sphere(64, 22, 6))
    assert last_shell_above(curve, 0.5) >= 20
    assert (curve[1:11] >= 0.99).all()
    # Amplitudes are kept, too.
    kept = np.abs(posed.volume) > 0.1 * posed.volume.max()
    truth = posed.volume[kept]
    assert np.vdot(truth, mean[kept]) / np.vdot(truth, truth) == pytest.approx(1.0, abs=0.05)
    assert 17 <= last_shell_above(state.fsc[0], 0.143) <= 20
    # The Wiener filter brings the merged map nearer to the truth than any plain one.
    errors = [np.linalg.norm(one - posed.volume) for one in (maps.merged[0], mean)]
    assert errors[0] < 0.6 * errors[1]


def test_halves_share_the_joined_shells_and_nothing_beyond(posed):
    task = with_parameters(posed.task, "reconstruction", join_halves_angst=16.0)
    task = with_parameters(task, "mask", flatten_solvent=False)
    state, _ = reconstruct_known(task)
    first, second = (np.fft.rfftn(np.fft.ifftshift(one)) for one in state.references[0])
    shell = shell_index(BOX)
    joined = max(6, last_shell_above(state.fsc[0], 0.95))
    same = np.abs(first - second) <= 1e-4 * np.abs(first).max()
    assert same[shell <= joined].all()
    beyond = (shell > joined) & (shell < 12)
    assert (np.abs(first - second)[beyond] > 0).all()
    # A half hears nothing of the other one beyond: changed images of one half change its map only.
    noise = np.full((2, 1, BOX // 2 + 1), posed.noise_power)
    state = state_of_map(task, posed.volume, noise)
    sums = _sums(task, state)
    slices = sums.slices[0]
    louder = replace(slices[1], data=2 * slices[1].data)
    step = Step(1, LOCAL, 12, 14)
    before, _ = maximization(task, sums, state, step)
    after, _ = maximization(task, replace(sums, parts=(((slices[0],), (louder,)),)), state, step)
    for half, moves in ((0, False), (1, True)):
        change = np.fft.rfftn(after.references[0, half] - before.references[0, half])
        largest = np.abs(np.fft.rfftn(before.references[0, half]))[shell > joined].max()
        assert (np.abs(change)[shell > joined].max() > 1e-2 * largest) is np.bool_(moves)


def test_pure_noise_has_no_correlation_and_leaves_no_reference():
    posed = posed_blobs(300, BOX, amplitude=0.0, particle_diameter_angst=75.0)
    noise = np.full((2, 1, BOX // 2 + 1), posed.noise_power)
    for settings in ({}, {"flatten_solvent": False, "masked_fsc": False}):
        task = with_parameters(posed.task, "mask", **settings)
        state, maps = maps_of_poses(task, noise)
        assert (state.fsc[0][5:] < 0.143).all()
        left = power_spectrum(maps.merged[0])[5:14]
        assert (left < 0.02 * power_spectrum(maps.unfiltered_halves[0, 0])[5:14]).all()


def test_shells_beyond_the_slices_have_no_correlation(posed):
    task, state = _state(posed)
    sums = _sums(task, state)
    after, maps = maximization(task, sums, state, Step(1, LOCAL, 8, 10))
    assert (after.fsc[0, 10:] == 0.0).all() and (after.fsc[0, 1:8] > 0.5).all()
    assert np.isfinite(maps.curves[0].randomised).all()
    plain = with_parameters(task, "mask", masked_fsc=False)
    after, maps = maximization(plain, sums, state, Step(1, LOCAL, 8, 10))
    np.testing.assert_array_equal(after.fsc[0, 1:10], maps.curves[0].unmasked[1:10])
    assert np.isnan(maps.curves[0].masked).all()


def test_maps_do_not_depend_on_chance(posed):
    task, state = _state(posed)
    sums, step = _sums(task, state), Step(3, GLOBAL, 8, 12)
    first, second = (maximization(task, sums, state, step) for _ in range(2))
    np.testing.assert_array_equal(first[0].references, second[0].references)
    np.testing.assert_array_equal(first[0].fsc, second[0].fsc)
    other = maximization(task, sums, state, replace(step, iteration=4))
    assert (other[1].curves[0].randomised != first[1].curves[0].randomised).any()


def test_balanced_weights_give_nearly_the_same_map(posed):
    _, plain = reconstruct_known(posed.task)
    for how in ("stencil", "fft"):
        task = with_parameters(posed.task, "reconstruction", weight_balancing=how)
        _, maps = reconstruct_known(task)
        curve = fsc(maps.merged[0], plain.merged[0])
        assert (curve[1:10] > 0.99).all()
        assert not np.array_equal(maps.merged, plain.merged)


def test_an_emptied_class_takes_half_of_the_largest_and_differs_from_it(posed):
    task, state = _state(posed, n_classes=3)
    one = with_parameters(task, "reference", n_classes=1)
    sums = _sums(one, state)
    full, nothing = (
        sums.parts[0],
        tuple(
            (replace(half, data=0 * half.data, weight=0 * half.weight),) for half in sums.slices[0]
        ),
    )
    mass = np.array([0, 200, 100]) * int(1 / POWER_UNIT)
    sums = replace(sums, parts=(nothing, full, full), class_mass=mass)
    after, maps = maximization(task, sums, state, Step(1, GLOBAL, 8, 12))
    np.testing.assert_allclose(after.class_shares, [1 / 3, 1 / 3, 1 / 3])
    copied, source = after.references[0], after.references[1]
    assert np.isfinite(after.references).all()
    curve = fsc(copied[0], source[0])
    assert 0.5 < curve[2] < 0.9999 and not np.array_equal(copied[0], source[0])
    assert maps.curves[0] is None and (after.fsc[0] == 0.0).all()
    kept, _ = maximization(
        with_parameters(task, "stages", smallest_class_share=0.0), sums, state,
        Step(1, GLOBAL, 8, 12),
    )  # fmt: skip
    np.testing.assert_array_equal(kept.references[0], state.references[0])


def test_the_mask_follows_the_map_where_it_can(posed, caplog):
    task, state = _state(posed)
    task = with_parameters(task, "mask", map_mask="automatic", mask_extend_angst=3.0)
    sums = _sums(task, state)

    def mask(stage, task=task, sums=sums, given=None):
        return maximization(task, sums, state, Step(1, stage, 10, 12), given)[1].masks[0]

    round_one = with_parameters(task, "mask", map_mask="sphere")
    sphere = soft_sphere(BOX, 12.5, task.config.mask.mask_edge_px)
    np.testing.assert_array_equal(mask(GLOBAL, round_one), sphere)
    outline = mask(LOCAL)
    assert outline.sum() < 0.8 * sphere.sum()
    assert outline[posed.volume > 0.3 * posed.volume.max()].mean() > 0.95
    # In the global stage too, where the map may be moved: the mask goes with it.
    assert (np.abs(mask(GLOBAL) - outline) > 0.5).mean() < 0.02
    # Dark molecules have no outline.
    dark = tuple((replace(half, data=-half.data),) for half in sums.slices[0])
    np.testing.assert_array_equal(mask(LOCAL, sums=replace(sums, parts=(dark,))), sphere)
    assert "no automatic mask in this round, a sphere instead" in caplog.text
    given = with_parameters(task, "mask", map_mask="given")
    np.testing.assert_array_equal(mask(LOCAL, given, given=0.5 * sphere), 0.5 * sphere)


@pytest.mark.parametrize("is_recentred", [False, True])
def test_a_map_that_moved_is_brought_back_or_to_the_centre(posed, is_recentred):
    task = with_parameters(posed.task, "reconstruction", recentre_map=is_recentred)
    noise = np.full((2, 1, BOX // 2 + 1), posed.noise_power)
    state = state_of_map(task, posed.volume, noise)
    rotations, shift, _ = task.table.poses3d()
    # An object displaced by d shows itself displaced by the first two columns of R on d.
    offset = np.einsum("nij,i->nj", to_matrices(rotations), np.array([2.5, -1.0, 1.5]))[:, :2]
    off_centre = replace(task, table=task.table.with_poses3d(rotations, shift + offset))
    sums = _sums(off_centre, state)
    still, _ = maximization(task, sums, state, Step(1, LOCAL, 12, 14))
    after, maps = maximization(task, sums, state, Step(1, GLOBAL, 12, 14))
    inside = soft_sphere(BOX, 12.5, 0)
    moved, back = (drift_px(one.references[0, 0], posed.volume, 8) for one in (still, after))
    np.testing.assert_allclose(moved, [1.5, -1.0, 2.5], atol=0.1)
    if is_recentred:
        centre = centre_of_mass_px(maps.merged[0], inside)
        assert np.abs(centre).max() < 0.5
    else:
        np.testing.assert_allclose(back, 0.0, atol=0.05)
        np.testing.assert_allclose(drift_px(maps.merged[0], posed.volume, 8), 0.0, atol=0.05)


def test_symmetry_says_where_a_map_may_move():
    shift = np.array([3.0, 2.0, 1.0])
    np.testing.assert_array_equal(free_shift(shift, "C1"), shift)
    np.testing.assert_array_equal(free_shift(shift, "C4"), [3.0, 0.0, 0.0])
    for name in ("D2", "T", "O", "I2"):
        np.testing.assert_array_equal(free_shift(shift, name), 0.0)


def test_sums_are_the_same_for_any_ranks_and_batches(posed):
    task, state = _state(posed)
    whole = _sums(task, state)
    small = with_parameters(task, "compute", batch_size=7)
    parts = []
    for rank in (0, 1, 2):
        rows = rows_of_rank(len(task.table), rank, 3)
        mine = replace(
            small, rows=rows, ids=task.ids[rows], half=task.half[rows], group=task.group[rows],
            ctf=task.ctf[rows],
        )  # fmt: skip
        parts.append(_sums(mine, state))
    for half in (0, 1):
        for name in ("data", "weight"):
            total = sum(getattr(one.slices[0][half], name) for one in parts)
            np.testing.assert_array_equal(total, getattr(whole.slices[0][half], name))
    assert sum(one.class_mass for one in parts) == whole.class_mass == 300 / POWER_UNIT


def test_a_cloud_enters_at_its_points_and_weights_count(posed):
    task, state = _state(posed)
    single = cloud_of_table(task)
    many = PoseCloud(
        np.repeat(single.rotations, 5, axis=2), np.repeat(single.shift_px, 4, axis=2),
        np.repeat(single.defocus_factor, 3, axis=2), single.known,
    )  # fmt: skip
    one, other = (
        summed_at_poses(task, state, cloud, lambda n: None).slices[0][0] for cloud in (single, many)
    )
    close = np.abs(one.data - other.data).max() / np.abs(one.data).max()
    assert close < 1e-5
    # A particle of weight 0 and one without a pose are left out.
    weight = np.where(np.arange(300) < 150, 0.0, 2.0)
    table = task.table.with_columns({labels.WEIGHT: weight})
    doubled = summed_at_poses(replace(task, table=table), state, single, lambda n: None)
    known = replace(single, known=np.arange(300) >= 150)
    plain = summed_at_poses(task, state, known, lambda n: None)
    np.testing.assert_allclose(
        doubled.slices[0][0].weight, 2 * plain.slices[0][0].weight, atol=1000
    )
