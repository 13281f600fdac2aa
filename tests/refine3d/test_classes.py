# SPDX-License-Identifier: GPL-3.0-or-later
"""Classes: particles are told apart by what differs for sure, whatever the search found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cryoralib_plugin.fourier.band import FourierBand
from cryoralib_plugin.fourier.shells import filter_shells, shell_index
from cryoralib_plugin.geometry.acg import draw_steps, ratio_of_scale
from cryoralib_plugin.geometry.rotations import multiply, to_matrices
from cryoralib_plugin.kernels.score import local_scores
from cryoralib_plugin.refine3d.class_differences import difference_filters, filtered_differences
from cryoralib_plugin.refine3d.cloud import PoseCloud, Spread, cloud_around
from cryoralib_plugin.refine3d.evidence import log_evidence
from cryoralib_plugin.refine3d.expectation import Outcome
from cryoralib_plugin.refine3d.image_power import projected_information
from cryoralib_plugin.refine3d.local_search import Search, local_search, proposal_of, shift_prior
from cryoralib_plugin.refine3d.maximization import maximization
from cryoralib_plugin.refine3d.round import changed_class_permille, compare_and_sum, spectra_of
from cryoralib_plugin.refine3d.run import _first_cloud
from cryoralib_plugin.refine3d.schedule import Step
from cryoralib_plugin.refine3d.start import state_of_map
from cryoralib_plugin.refine3d.state import LOCAL
from tests.reference.known_poses import posed_classes, with_parameters

BOX, CUTOFF = 32, 9


@pytest.fixture(scope="module")
def two():
    """300 particles of two classes with their true poses, both maps, and which is which."""
    return posed_classes(
        300, BOX, amplitude=0.4, n_classes=2, particle_diameter_angst=80.0,
        initial_resolution_angst=16.0, lowest_resolution_angst=90.0, shift_std_px=2.0,
    )  # fmt: skip


@pytest.fixture(scope="module")
def near_truth(two):
    """Particles of a half, spectra of both maps, and clouds around the true poses."""
    posed, core, _ = two
    noise = np.full((2, 1, BOX // 2 + 1), posed.noise_power)
    state = state_of_map(posed.task, posed.volume, noise)
    chosen, data = next(iter(posed.task.batches(0, state, FourierBand.between(BOX, 1, CUTOFF))))
    maps = np.stack([posed.volume, core]).astype(np.float32)
    n = len(chosen)
    rotations, shift, known = posed.task.table.poses3d(chosen)
    like = PoseCloud.unknown(n, 1, 125, 25, np.ones(1))
    cloud = cloud_around(rotations, shift, known, chosen, like, Spread(5.0, 0.5, 1))
    before = proposal_of(cloud.rotations[:, 0], cloud.shift_px[:, 0], cloud.defocus_factor[:, 0])
    return data, spectra_of(posed.task, maps, CUTOFF), before, chosen


def _ratios(near_truth, filter, seeds):
    data, volumes, before, _ = near_truth
    found = [
        local_search(data, one, before, Search(filter, seed, 1))[0]
        for one, seed in zip(volumes, seeds)
    ]
    evidence = log_evidence(data, volumes, found)
    return evidence[:, 0] - evidence[:, 1]


def test_the_ratio_of_evidences_is_that_of_integrals_over_poses(two, near_truth):
    posed, _, has_part = two
    data, volumes, _, chosen = near_truth
    some, n_rotations = np.arange(25), 3000
    rotations, shift, _ = posed.task.table.poses3d(chosen[some])
    ratio = np.full((25, 3), ratio_of_scale(8.0))
    draws = np.random.default_rng(5).normal(size=(25, n_rotations, 4))
    steps = draw_steps(ratio, draws)
    density = -2.0 * np.log(
        steps[..., 0] ** 2 + (steps[..., 1:] ** 2 / ratio[:, None]).sum(axis=-1)
    )
    grid = np.stack(np.meshgrid(*2 * [np.linspace(-1.5, 1.5, 9)]), axis=-1).reshape(-1, 2)
    shifts = shift[:, None] + grid
    turned = to_matrices(multiply(rotations[:, None], steps))
    whitened = data[some].whitened(np.ones((25, 1)))
    exact = []
    for volume in volumes:
        scores = local_scores(volume, whitened, turned, shifts, data.band)[..., 0]
        log_mass = scores - density[:, :, None] + shift_prior(shifts, 2.0)[:, None]
        exact.append(np.logaddexp.reduce(log_mass.reshape(25, -1).astype(np.float64), axis=1))
    truth = exact[0] - exact[1]
    found = _ratios(near_truth, posed.task.config.filter, (5, 5))[some]
    # The ratios themselves spread by 13.
    assert np.median(np.abs(found - truth)) < 0.7
    assert np.corrcoef(found, truth)[0, 1] > 0.99
    right = (found > 0.0) == has_part[chosen[some]]
    assert right.mean() > 0.9


def test_chance_in_the_search_hardly_moves_the_ratio(two, near_truth):
    filter = two[0].task.config.filter
    ratios = np.stack([_ratios(near_truth, filter, (seed, 10 + seed)) for seed in range(4)])
    assert np.median(ratios.std(axis=0)) < 0.6


def test_evidence_does_not_depend_on_the_company(two, near_truth):
    data, volumes, before, _ = near_truth
    search = Search(two[0].task.config.filter, 5, 1)
    found = [local_search(data, one, before, search)[0] for one in volumes]
    whole, rows = log_evidence(data, volumes, found), np.arange(20, 27)
    part = log_evidence(data[rows], volumes, [one[rows] for one in found])
    np.testing.assert_array_equal(part, whole[rows])


def test_a_class_without_a_likelihood_has_no_evidence(near_truth, two):
    data, volumes, before, _ = near_truth
    search = Search(two[0].task.config.filter, 5, 1)
    found = [local_search(data, one, before, search)[0] for one in volumes]
    lost = replace(found[1], usable=np.arange(len(data)) > 3)
    evidence = log_evidence(data, volumes, [found[0], lost])
    assert np.isneginf(evidence[:4, 1]).all() and np.isfinite(evidence[:4, 0]).all()
    assert np.isfinite(evidence[4:]).all()
    none = [replace(one, usable=np.zeros(len(data), bool)) for one in found]
    assert np.isneginf(log_evidence(data, volumes, none)).all()


def test_copies_differ_by_less_than_a_particle_can_tell(two):
    posed = two[0]
    noise = np.full((2, 1, BOX // 2 + 1), posed.noise_power)
    loud = with_parameters(posed.task, "reference", n_classes=2)
    first, second = state_of_map(loud, posed.volume, noise).references[:, 0]
    assert not np.array_equal(first, second)
    assert 0.15 < projected_information(loud, first - second, noise) < 1.5
    # Of noisier images it takes more, up to a limit.
    bold = state_of_map(loud, posed.volume, 1e4 * noise).references[:, 0]
    inside = posed.volume > 0.2 * posed.volume.max()
    spread = bold[0][inside] / posed.volume[inside]
    assert 0.15 < spread.std() < 0.45


def test_only_differences_that_both_halves_show_are_kept():
    rng = np.random.default_rng(4)
    low = np.where(np.arange(BOX // 2 + 1) < 10, 1.0, 0.0)
    common, difference = (filter_shells(rng.normal(size=(BOX,) * 3), low) for _ in range(2))
    noise = 0.05 * rng.normal(size=(2, 2) + (BOX,) * 3)
    halves = np.stack([common, common + difference])[:, None] + noise
    curves = np.tile(low, (2, 1))
    mask, even = np.ones((BOX,) * 3, np.float32), np.full(2, 0.5)

    def factors(halves):
        return difference_filters(halves, mask, curves, even, first_px=4, order=1)

    shown = factors(halves.astype(np.float32))
    assert (shown[:, :10] > 0.95).all() and (shown[:, 10:] == 0.0).all()
    alike = (common + noise).astype(np.float32)
    kept = factors(alike)
    assert (kept[:, :4] == 1.0).all() and (kept[:, 5:] == 0.0).all()
    references = filtered_differences(alike, even, kept)
    spectra = np.fft.rfftn(np.fft.ifftshift(references, axes=(2, 3, 4)), axes=(2, 3, 4))
    apart = np.abs(spectra[0] - spectra[1])
    assert (apart[:, shell_index(BOX) > 5] < 1e-2).all()
    np.testing.assert_allclose(references.mean(axis=0), alike.mean(axis=0), atol=1e-5)
    # A class without a new map keeps what it has.
    curves[0] = 0.0
    np.testing.assert_array_equal(filtered_differences(alike, even, factors(alike))[0], alike[0])


def test_rounds_strengthen_a_difference_until_particles_are_told_apart(two):
    posed, core, has_part = two
    task, part = posed.task, posed.volume - core
    noise = np.full((2, 1, BOX // 2 + 1), posed.noise_power)
    state = state_of_map(task, posed.volume, noise)
    # Each class has a little more or less of the part than the other, which is most of what all
    # particles show: 0.15 of the part to either side of its half.
    hinted = np.stack([core + share * part for share in (0.65, 0.35)]).astype(np.float32)
    state = replace(state, references=np.stack([hinted, hinted], axis=1))
    cloud, before = _first_cloud(task), Outcome.none(len(task.rows), 2)
    changed = []
    for iteration in (1, 2, 3):
        step = Step(iteration, LOCAL, 7, 14)
        sums, outcome = compare_and_sum(task, state, step, cloud, before, lambda n: None)
        changed.append(changed_class_permille(task, outcome, before))
        state, before = maximization(task, sums, state, step)[0], outcome
    right = (outcome.class_index == 0) == has_part
    for half in (0, 1):
        assert right[task.half == half].mean() >= 0.9
    np.testing.assert_allclose(state.class_shares, 0.5, atol=0.07)
    assert changed[0] == 1000 and changed[2] < 100
    # The maps differ by the part; it was multiplied by 0.3 at first.
    difference = (state.references[0] - state.references[1]).mean(axis=0).ravel()
    assert np.vdot(difference, part.ravel()) / np.vdot(part, part) > 0.55
