# SPDX-License-Identifier: GPL-3.0-or-later
"""Stages of the shift search and the detail of the first references."""

import numpy as np
import pytest

from cryoralib_plugin.align2d.schedule import FULL_DETAIL_PER_PX, annealing_cutoff, make_schedule


def test_mra_divides_its_iterations_among_the_stages(program):
    config = program.config(n_iterations=7, shift_range_px="4 2 1", shift_step_px="2 1 0.5")
    steps = make_schedule(config, 18, annealed=False)
    assert [step.iteration for step in steps] == list(range(1, 8))
    assert [step.shifts.range_x_px for step in steps] == [4, 4, 4, 2, 2, 1, 1]
    assert [step.shifts.step_px for step in steps] == [2, 2, 2, 1, 1, 0.5, 0.5]
    assert [step.is_last for step in steps] == [False] * 6 + [True]


def test_every_stage_gets_an_iteration_even_if_too_few_were_asked_for(program):
    config = program.config(n_iterations=1, shift_range_px="3 2 1")
    steps = make_schedule(config, 18, annealed=False)
    assert [step.shifts.range_x_px for step in steps] == [3, 2, 1]


def test_rfa_runs_all_iterations_in_each_stage(program):
    config = program.config("rfa", n_iterations=2, shift_range_px="2 1")
    steps = make_schedule(config, 18, annealed=True)
    assert [step.shifts.range_x_px for step in steps] == [2, 2, 1, 1]
    assert not any(step.cutoff_per_px or step.balanced for step in steps)


def test_detail_grows_from_the_start_to_all_of_it(program):
    config = program.config(n_iterations=8, start_detail=3.6, annealing_iterations=4)
    cutoffs = [annealing_cutoff(config, done, 18) for done in range(5)]
    # 3.6 periods across a diameter of 36 px.
    assert cutoffs[0] == pytest.approx(0.1)
    np.testing.assert_allclose(np.diff(cutoffs[:4]), (FULL_DETAIL_PER_PX - 0.1) / 4)
    assert cutoffs[4] == 0.0
    assert [s.cutoff_per_px for s in make_schedule(config, 18, annealed=True)][:4] == cutoffs[1:]


def test_the_last_averages_are_never_smoothed(program):
    config = program.config(n_iterations=3, annealing_iterations=100)
    assert make_schedule(config, 18, annealed=True)[-1].cutoff_per_px == 0.0


def test_a_short_run_keeps_a_third_of_its_iterations_free(program):
    steps = make_schedule(program.config(n_iterations=6, balanced_iterations=8), 18, annealed=True)
    assert [step.balanced for step in steps] == [True] * 4 + [False] * 2
    assert [step.restarts_shifts for step in steps] == [False] * 4 + [True, False]
    (only,) = make_schedule(program.config(n_iterations=1), 18, annealed=True)
    assert not only.balanced and not only.restarts_shifts and only.cutoff_per_px == 0.0


def test_given_references_are_not_smoothed(program):
    steps = make_schedule(program.config(), 18, annealed=False)
    assert not any(step.cutoff_per_px or step.balanced for step in steps)
