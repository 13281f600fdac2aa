# SPDX-License-Identifier: GPL-3.0-or-later
"""The cut-off follows the correlation, never falls, and no stage is skipped."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from cryoralib_plugin.contract._codec import from_flat
from cryoralib_plugin.contract.refine3d import Refine3DConfig, Stages
from cryoralib_plugin.refine3d.schedule import (
    Limits,
    Passed,
    first_stage,
    limits,
    next_step,
    passed_rounds,
)
from cryoralib_plugin.refine3d.state import DEFOCUS, GLOBAL, LOCAL, STAGES

LIMITS = Limits(first_px=6, settled_px=10, global_px=14, last_px=30, lowest_px=1)
ALL = dataclasses.replace(Stages(), defocus_search=True)


def played(stages, resolution_of, *, first=GLOBAL, moved=0):
    """Return the steps of a run whose rounds reach the shells a function tells."""
    passed, steps = (), []
    while True:
        step = next_step(stages, LIMITS, passed, first)
        if step is None:
            return steps
        steps.append(step)
        shell = resolution_of(step)
        passed += (Passed(step.stage, step.cutoff_px, shell, shell, moved),)
        assert len(steps) < 200


@pytest.mark.parametrize("reach", [0, 3, 8, 15, 22, 40])
def test_cutoffs_never_fall_and_every_stage_follows(reach):
    steps = played(ALL, lambda step: min(reach, step.reconstruct_px - 1))
    cutoffs = [step.cutoff_px for step in steps]
    assert cutoffs == sorted(cutoffs)
    # A global stage whose correlation stalls below its limit is followed by local search too.
    assert list(dict.fromkeys(step.stage for step in steps)) == [GLOBAL, LOCAL, DEFOCUS]
    allowed = min(LIMITS.global_px, reach + 3), min(LIMITS.last_px, reach + 1)
    assert max(cutoffs) <= max(LIMITS.first_px, *allowed)
    assert all(s.cutoff_px <= LIMITS.global_px for s in steps if s.stage == GLOBAL)
    assert all(s.cutoff_px < s.reconstruct_px <= LIMITS.last_px or s.cutoff_px == LIMITS.last_px
               for s in steps)  # fmt: skip


def test_shells_that_are_mostly_noise_count_while_poses_are_looked_for_only():
    passed = (Passed(GLOBAL, 8, 7, 9, 500),)
    assert next_step(ALL, LIMITS, passed, GLOBAL).cutoff_px == 12
    passed += (Passed(GLOBAL, 12, 11, 19, 5),)
    step = next_step(ALL, LIMITS, passed, GLOBAL)
    assert (step.stage, step.cutoff_px) == (LOCAL, 12)


def test_a_cutoff_grows_by_a_quarter_at_most():
    steps = played(Stages(), lambda step: 29)
    grown = np.diff([step.cutoff_px for step in steps])
    assert grown.max() <= round(0.25 * LIMITS.last_px)
    assert steps[-1].cutoff_px == LIMITS.last_px


def test_the_global_stage_goes_on_while_particles_change_their_poses():
    calm = played(Stages(), lambda step: 20, moved=0)
    busy = played(Stages(), lambda step: 20, moved=200)
    count = [sum(s.stage == GLOBAL for s in steps) for steps in (calm, busy)]
    assert count[0] < count[1] < 12


def test_particles_that_stay_are_not_scanned_for_again():
    steps = played(Stages(), lambda step: step.cutoff_px + 1, moved=5)
    scanned = [step.cutoff_px for step in steps if step.stage == GLOBAL]
    assert scanned[-2] < LIMITS.settled_px <= scanned[-1]
    moving = played(Stages(), lambda step: step.cutoff_px + 1, moved=100)
    assert max(s.cutoff_px for s in moving if s.stage == GLOBAL) == LIMITS.global_px


def test_a_run_ends_at_its_last_round():
    stages = dataclasses.replace(Stages(), maximum_rounds=3)
    assert len(played(stages, lambda step: 40)) == 3


def test_poses_decide_where_a_run_begins():
    assert first_stage(ALL, all_known=True) == LOCAL
    assert first_stage(ALL, all_known=False) == GLOBAL
    without = dataclasses.replace(Stages(), global_search=False)
    # One global round for those that came without a pose, then local search.
    steps = played(without, lambda step: 5, first=first_stage(without, all_known=False))
    assert [s.stage for s in steps[:2]] == [GLOBAL, LOCAL]


def test_a_history_says_all_that_the_next_step_needs():
    passed = (Passed(GLOBAL, 6, 15, 14, 1000), Passed(LOCAL, 14, 19, 18, 3))
    rows = [[STAGES.index(p.stage), *dataclasses.astuple(p)[1:]] for p in passed]
    assert passed_rounds(np.array(rows)) == passed


def test_limits_of_thunders_test_case():
    flat = {"particles_file": "p.star", "symmetry": "C1", "initial_resolution_angst": 40.0}
    config = from_flat(Refine3DConfig, flat)
    sizes = {"box_size_px": 64, "pixel_size_angst": 3.0, "diameter_angst": 150.0}
    # round(N p / 40) + 1, a quarter of the radius, and round(N p / 15) + 1, which is finer.
    assert limits(config, order=1, **sizes) == Limits(6, 11, 14, 30, 1)
    # With many asymmetric units coarse detail does not tell rotations apart.
    assert limits(config, order=24, **sizes).settled_px == 30
    coarse = from_flat(
        Refine3DConfig,
        {"particles_file": "a", "initial_resolution_angst": 999, "lowest_resolution_angst": 2000},
    )
    least = limits(coarse, order=1, **sizes)
    assert (least.lowest_px, least.first_px) == (1, 2)


def test_a_local_stage_goes_on_while_fewer_and_fewer_particles_change_class():
    stages = Stages(patience_rounds=2)
    limit = Limits(7, 8, 9, 20, 1)

    def ends(*changed):
        rounds = tuple(Passed(LOCAL, 10, 6, 8, 0, one) for one in changed)
        return next_step(stages, limit, rounds, LOCAL) is None

    assert ends(0, 0, 0) and ends(1000, 9, 5)
    assert not ends(1000, 300, 200) and not ends(1000, 300, 310)
    assert ends(1000, 300, 310, 305)


def test_the_global_stage_goes_on_while_fewer_and_fewer_particles_move():
    stages, limit = Stages(patience_rounds=2), Limits(7, 8, 9, 20, 1)

    def stage_after(stage, *moved):
        rounds = tuple(Passed(stage, 9, 6, 8, one) for one in moved)
        return next_step(stages, limit, rounds, stage).stage

    falling = (1000, 500, 300, 200, 150, 120, 100, 80, 60)
    assert stage_after(GLOBAL, *falling) == GLOBAL
    assert stage_after(GLOBAL, *falling, 59, 58) == LOCAL
    # Where no other poses are looked for, those that move do so by chance.
    assert (
        next_step(stages, limit, tuple(Passed(LOCAL, 9, 6, 8, one) for one in falling), LOCAL)
        is None
    )
