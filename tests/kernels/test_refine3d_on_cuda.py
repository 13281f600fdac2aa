# SPDX-License-Identifier: GPL-3.0-or-later
"""A round of a 3D refinement on a CUDA device gives what it gives on the CPU."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cryoralib_plugin.geometry.rotations import angle_between
from cryoralib_plugin.kernels.device import CpuDevice
from cryoralib_plugin.refine3d.cloud import Spread, cloud_around
from cryoralib_plugin.refine3d.expectation import Outcome
from cryoralib_plugin.refine3d.maximization import maximization
from cryoralib_plugin.refine3d.round import compare_and_sum
from cryoralib_plugin.refine3d.run import _first_cloud
from cryoralib_plugin.refine3d.schedule import Step
from cryoralib_plugin.refine3d.start import state_of_map
from cryoralib_plugin.refine3d.state import DEFOCUS, GLOBAL, LOCAL
from tests.reference.known_poses import posed_blobs, with_parameters

BOX, N = 24, 12


def _round(posed, device, stage, n_classes):
    """What a round says, and the maps that come of it."""
    task = with_parameters(posed.task, "reference", n_classes=n_classes)
    task = replace(with_parameters(task, "filter", n_scan_rotations=800), device=device)
    noise = np.full((2, 1, BOX // 2 + 1), posed.noise_power)
    state = state_of_map(task, posed.volume, noise)
    cloud = _first_cloud(task)
    if stage == GLOBAL:
        # A third of the particles knows one pose, a third knows nothing much, the last nothing.
        rotations, shift_px, known = task.table.poses3d(task.rows)
        width = np.where(np.arange(N) % 3 == 0, 2.0, 60.0)
        for angle_deg in (2.0, 60.0):
            near = cloud_around(
                rotations, shift_px, known & (np.arange(N) % 3 < 2), task.ids, cloud,
                Spread(angle_deg, 1.0, 3),
            )  # fmt: skip
            rows = np.flatnonzero(width == angle_deg)
            cloud.put(rows, near[rows])
    step = Step(1, stage, 8, 10)
    before = Outcome.none(len(task.rows), n_classes)
    sums, outcome = compare_and_sum(task, state, step, cloud, before, lambda n: None)
    return outcome, maximization(task, sums, state, step)[0].references


@pytest.mark.parametrize(("stage", "n_classes"), [(GLOBAL, 2), (LOCAL, 1), (DEFOCUS, 1)])
def test_rounds_agree(device_backend, stage, n_classes):
    posed = posed_blobs(
        N, BOX, amplitude=4.0, particle_diameter_angst=60.0, initial_resolution_angst=16.0,
        start_from_poses=stage != GLOBAL, defocus_search=stage == DEFOCUS,
    )  # fmt: skip
    here, maps = _round(posed, CpuDevice(), stage, n_classes)
    there, others = _round(posed, device_backend.device, stage, n_classes)
    apart = angle_between(here.rotations, there.rotations)
    # Rounding decides now and then whether a particle takes another phase.
    assert np.median(apart) < 0.01 and (apart < 0.05).sum() >= N - 1
    close = apart < 0.05
    np.testing.assert_allclose(there.score[close], here.score[close], atol=5e-3)
    np.testing.assert_allclose(there.defocus_factor, here.defocus_factor, atol=1e-3)
    probability = here.class_probability[close]
    np.testing.assert_allclose(there.class_probability[close], probability, atol=0.02)
    assert np.corrcoef(maps.ravel(), others.ravel())[0, 1] > 0.999


@pytest.mark.parametrize("stage", [GLOBAL, LOCAL])
def test_poses_agree_to_a_twentieth_of_a_degree(device_backend, stage):
    n, box = 100, 32
    posed = posed_blobs(
        n, box, amplitude=1.0, particle_diameter_angst=80.0, initial_resolution_angst=16.0,
        start_from_poses=stage == LOCAL,
    )  # fmt: skip
    noise = np.full((2, 1, box // 2 + 1), posed.noise_power)
    found = []
    for device in (CpuDevice(), device_backend.device):
        task = with_parameters(posed.task, "filter", n_scan_rotations=2000, shift_std_px=1.0)
        task = replace(task, device=device)
        state, cloud = state_of_map(task, posed.volume, noise), _first_cloud(task)
        step, before = Step(1, stage, 11, 13), Outcome.none(n, 1)
        found.append(compare_and_sum(task, state, step, cloud, before, lambda n: None)[1])
    apart = angle_between(found[0].rotations, found[1].rotations)
    # The posteriors themselves are a degree wide.
    assert np.median(found[0].angular_std_deg) > 0.8
    assert (apart < 0.05).mean() >= 0.99
