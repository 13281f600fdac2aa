# SPDX-License-Identifier: GPL-3.0-or-later
"""The particle filter against exact projections: it finds poses, knows its errors, keeps them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from cryoralib_plugin.contract.particle_filter import ParticleFilter
from cryoralib_plugin.fourier.band import FourierBand
from cryoralib_plugin.fourier.volume import fourier_volume
from cryoralib_plugin.geometry.acg import (
    RotationSpread,
    draw_steps,
    gaussian_std_deg,
    ratio_of_scale,
)
from cryoralib_plugin.geometry.rotations import (
    angle_between,
    conjugate,
    from_axis_angle,
    multiply,
    normalise,
    to_matrices,
    to_rotation_vectors,
)
from cryoralib_plugin.geometry.symmetry import symmetry_operators
from cryoralib_plugin.optics.ctf import CtfParameters
from cryoralib_plugin.refine3d.global_search import _heavy_shifts, global_search, make_scan_set
from cryoralib_plugin.refine3d.local_search import Proposal, Search, local_search, proposal_of
from cryoralib_plugin.refine3d.particle_data import particle_data
from cryoralib_plugin.refine3d.pose_search import reach_of, search_near
from tests.reference.gaussian_map import blobs

BOX, N, CUTOFF, NOISE = 48, 60, 14, 2.5
SEARCH = Search(dataclasses.replace(ParticleFilter(), shift_std_px=1.0), 5, 1)


@pytest.fixture(scope="module")
def case():
    return case_of(fold=1)


def case_of(fold):
    """Noisy exact projections with a CTF of 1 everywhere, their truth and the map."""
    rng = np.random.default_rng(8)
    rotations = normalise(rng.normal(size=(N, 4)))
    shifts = rng.normal(size=(N, 2))
    volume, images = blobs(
        BOX, to_matrices(rotations), shifts, n_blobs=40, seed=3, reach_px=17, fold=fold
    )
    sigma = NOISE * images.std()
    images = images + rng.normal(scale=sigma, size=images.shape).astype(np.float32)
    # A phase plate at 90 degrees without defocus: the whole signal at every frequency.
    optics = CtfParameters(*(np.full(N, v) for v in (0.0, 0.0, 0.0, 300.0, 0.0, 0.0, 90.0)))
    noise = np.full((N, BOX // 2 + 1), sigma**2 * BOX**2 / 2)
    band = FourierBand.between(BOX, 1, CUTOFF)
    data = particle_data(images, np.arange(N), optics, noise, band, 3.0)
    return data, fourier_volume(volume, max_radius_px=CUTOFF), rotations, shifts


def around(rotations, shifts, angle_deg, shift_px):
    n = len(rotations)
    ratio = np.full((n, 3), ratio_of_scale(angle_deg))
    spread = RotationSpread(rotations, ratio)
    return Proposal(spread, shifts, np.full((n, 2), shift_px), np.ones(n), np.zeros(n))


def points(start, n_rotations=125, n_shifts=25):
    """Return rotations and shifts drawn from a proposal, as particles remember them."""
    rng = np.random.default_rng(4)
    steps = draw_steps(start.rotation.ratio, rng.normal(size=(N, n_rotations, 4)))
    moves = start.shift_std_px[:, None] * rng.normal(size=(N, n_shifts, 2))
    return multiply(start.rotation.mean[:, None], steps), start.shift_px[:, None] + moves


@pytest.fixture(scope="module")
def near_truth(case):
    data, volume, rotations, shifts = case
    return local_search(data, volume, around(rotations, shifts, 4.0, 0.5), SEARCH)


def test_deviations_are_those_of_the_errors(case, near_truth):
    _, _, rotations, shifts = case
    posterior, _ = near_truth
    spread = posterior.rotation_spread()
    errors = to_rotation_vectors(multiply(conjugate(spread.mean), rotations))
    z = errors / gaussian_std_deg(spread.ratio)
    assert 0.75 < np.sqrt((z**2).mean()) < 1.35
    mean, std = posterior.shift_moments()
    assert 0.75 < np.sqrt((((mean - shifts) / std) ** 2).mean()) < 1.35


def test_weights_are_probabilities(near_truth):
    posterior, n_phases = near_truth
    for weights in (posterior.rotation_weight, posterior.shift_weight, posterior.defocus_weight):
        assert (weights >= 0.0).all()
        np.testing.assert_allclose(weights.sum(axis=1), 1.0)
    assert posterior.usable.all()
    assert (n_phases >= SEARCH.filter.lowest_phases).all()


def test_a_wide_and_a_narrow_start_come_to_the_same_spread(case, near_truth):
    data, volume, rotations, shifts = case
    wide, _ = local_search(data, volume, around(rotations, shifts, 10.0, 1.5), SEARCH)
    ratio = [
        np.median(gaussian_std_deg(one.rotation_spread().ratio)) for one in (near_truth[0], wide)
    ]
    assert ratio[1] == pytest.approx(ratio[0], rel=0.12)


def test_a_scan_finds_poses_from_nothing(case):
    data, volume, rotations, _ = case
    scan = scan_set()
    nowhere = around(np.tile([1.0, 0, 0, 0], (N, 1)), np.zeros((N, 2)), 10.0, 1.0)
    no = np.zeros(N, bool)
    found, _ = global_search(data, volume, nowhere, points(nowhere), no, no, scan, SEARCH)
    error = angle_between(found.best_rotation(), rotations)
    assert (error < 10.0).mean() >= 0.95


@pytest.mark.parametrize("doubtful", [False, True])
def test_a_scan_never_loses_a_good_pose(case, near_truth, doubtful):
    data, volume, rotations, shifts = case
    start = around(rotations, shifts, 2.0, 0.3)
    known = np.ones(N, bool)
    found, _ = global_search(
        data, volume, start, points(start), known, known & doubtful, scan_set(), SEARCH
    )
    # What replaces the right pose must explain the image better, by the margin.
    left = angle_between(found.best_rotation(), rotations) > 15.0
    margin = SEARCH.filter.keep_pose_margin - 0.5
    assert (found.best_score[left] > near_truth[0].best_score[left] + margin).all()
    assert left.mean() <= 0.03


def remembering(n_poses, rotations, shifts):
    """Clouds on the right pose and on others: wide, so that no particle is settled."""
    right, shift = points(around(rotations, shifts, 4.0, 0.5))
    turns = normalise(np.random.default_rng(2).normal(size=(N, n_poses, 4)))
    turns[:, 0] = [1.0, 0.0, 0.0, 0.0]
    return multiply(turns[:, np.arange(125) % n_poses], right), shift


def test_between_scans_a_particle_finds_its_pose_among_those_it_remembers(case):
    data, volume, rotations, shifts = case
    both, shift = remembering(2, rotations, shifts)
    wide = around(rotations, shifts, 60.0, 0.5)
    off_turn = np.flatnonzero((data.ids + SEARCH.iteration) % 2 == 1)
    known = np.ones(len(off_turn), bool)
    found, n_phases = global_search(
        data[off_turn], volume, wide[off_turn], (both[off_turn], shift[off_turn]), known, ~known,
        scan_set(), SEARCH,
    )  # fmt: skip
    assert (angle_between(found.best_rotation(), rotations[off_turn]) < 10.0).mean() >= 0.95
    # No scan was made for them: two phases, and more only where too few points count.
    assert np.median(n_phases) == 2


def test_a_local_round_finds_the_pose_among_several(case):
    data, volume, rotations, shifts = case
    both, shift = remembering(5, rotations, shifts)
    some = np.arange(N) % 3 > 0
    both[~some] = points(around(rotations, shifts, 4.0, 0.5))[0][~some]
    reach = reach_of(
        SEARCH, box_size_px=BOX, diameter_px=40.0, cutoff_px=CUTOFF,
        operators=symmetry_operators("C1"),
    )  # fmt: skip
    before = proposal_of(both, shift, np.ones((N, 1)))
    found, _ = search_near(data, volume, before, (both, shift), reach, SEARCH)
    assert (angle_between(found.best_rotation(), rotations)[some] < 10.0).mean() >= 0.95
    # Those with one pose are searched as ever.
    alone, _ = local_search(data[~some], volume, before[~some], SEARCH)
    np.testing.assert_array_equal(found.rotations[~some], alone.rotations)


def test_centred_particles_stay_centred(case):
    data, volume, rotations, shifts = case
    search = dataclasses.replace(
        SEARCH, filter=dataclasses.replace(SEARCH.filter, shift_std_px=0.0)
    )
    centred = make_scan_set(
        search, box_size_px=BOX, diameter_px=40.0, cutoff_px=CUTOFF, lowest_px=1,
        operators=symmetry_operators("C1"),
    )  # fmt: skip
    both, _ = remembering(2, rotations, shifts)
    nowhere, known = np.zeros((N, 1, 2)), np.arange(N) % 4 > 0
    before = proposal_of(both, nowhere, np.ones((N, 1)))
    found, _ = global_search(data, volume, before, (both, nowhere), known, ~known, centred, search)
    assert found.usable.all() and found.shift_px.shape == (N, 1, 2)
    assert (found.shift_px == 0.0).all()


def test_a_doubtful_particle_is_looked_for_more_often(case):
    data, volume, rotations, shifts = case
    wrong = multiply(rotations, from_axis_angle(np.array([0.0, 1.0, 0.0]), 90.0))
    start = around(wrong, shifts, 2.0, 0.3)
    # Not the turn of those that are settled, but that of the others.
    turn = np.flatnonzero((data.ids + SEARCH.iteration) % 4 == 2)
    remembered = tuple(one[turn] for one in points(start))
    yes = np.ones(len(turn), bool)
    right = {}
    for doubtful in (True, False):
        found, _ = global_search(
            data[turn], volume, start[turn], remembered, yes, yes == doubtful, scan_set(), SEARCH
        )
        right[doubtful] = angle_between(found.best_rotation(), rotations[turn]) < 10.0
    # Far points of a cloud that is still wide find some without a scan.
    assert right[True].mean() >= 0.9 > 0.75 > right[False].mean()


def test_points_of_a_scan_are_tried_half_a_step_off():
    scan = scan_set()
    apart = angle_between(scan.tried_rotations, scan.rotations)
    # Half of an angular central Gaussian turns by less than its scale about an axis.
    assert 0.4 < np.median(apart) / scan.reach.step_deg < 1.2
    moved = (scan.tried_shift_px - scan.shift_px) / scan.reach.step_px
    assert moved.std() == pytest.approx(0.5, rel=0.25)


def test_a_pose_on_both_sides_of_a_border_between_mates_is_one_pose():
    data, volume, rotations, shifts = case_of(fold=2)
    operators = symmetry_operators("C2")
    reach = reach_of(
        SEARCH, box_size_px=BOX, diameter_px=40.0, cutoff_px=CUTOFF, operators=operators
    )
    right, shift = points(around(rotations, shifts, 2.0, 0.3))
    split = np.where((np.arange(125) % 2 == 0)[:, None], right, multiply(operators[1], right))
    before = proposal_of(split, shift, np.ones((N, 1)))
    found, _ = search_near(data, volume, before, (split, shift), reach, SEARCH)
    spread = found.rotation_spread()
    assert (gaussian_std_deg(spread.ratio).max(axis=1) < 10.0).mean() >= 0.9
    assert (angle_between(spread.mean, rotations, operators) < 10.0).mean() >= 0.9


def test_of_shifts_without_mass_the_nearest_are_taken():
    scan = scan_set()
    at = 11
    mass = np.zeros((2, len(scan.shift_px)))
    # Masses too small for their rounding, as two devices give them, choose nothing.
    mass[1] = 1e-30 * np.arange(len(scan.shift_px))
    mass[:, at] = 1.0
    chosen = _heavy_shifts(mass, scan, 9)
    apart = ((scan.shift_px - scan.shift_px[at]) ** 2).sum(axis=1)
    nearest = np.sort(np.argsort(apart)[:9])
    np.testing.assert_array_equal(chosen, [nearest, nearest])
    # Mass that counts does.
    mass[:, apart.argmax()] = 1e-6
    assert (_heavy_shifts(mass, scan, 9) == apart.argmax()).any(axis=1).all()


def test_particles_do_not_depend_on_their_company(case):
    data, volume, rotations, shifts = case
    start = around(rotations, shifts, 4.0, 0.5)
    together, _ = local_search(data, volume, start, SEARCH)
    some = np.array([3, 50, 51])
    alone, _ = local_search(data[some], volume, start[some], SEARCH)
    np.testing.assert_array_equal(alone.rotation_weight, together.rotation_weight[some])
    np.testing.assert_array_equal(alone.shift_px, together.shift_px[some])


def test_a_particle_that_is_not_finite_is_set_aside_alone(case):
    data, volume, rotations, shifts = case
    spectra = data.spectra.copy()
    spectra[7] = np.nan
    broken = dataclasses.replace(data, spectra=spectra)
    start = around(rotations, shifts, 4.0, 0.5)
    found, _ = local_search(broken, volume, start, SEARCH)
    sound, _ = local_search(data, volume, start, SEARCH)
    assert np.flatnonzero(~found.usable).tolist() == [7]
    others = np.arange(N) != 7
    np.testing.assert_array_equal(found.rotation_weight[others], sound.rotation_weight[others])
    assert np.isfinite(found.rotation_weight).all()


def scan_set():
    return make_scan_set(
        SEARCH, box_size_px=BOX, diameter_px=40.0, cutoff_px=CUTOFF, lowest_px=1,
        operators=symmetry_operators("C1"),
    )  # fmt: skip
