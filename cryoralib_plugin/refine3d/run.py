# SPDX-License-Identifier: GPL-3.0-or-later
"""The program: particles and a low-resolution start become maps of known resolution."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any, Tuple

import numpy as np

from cryoralib_plugin.parallel.progress import Stopwatch, progress_bar

from .cloud import PoseCloud, Spread, cloud_around, even_factors
from .expectation import Outcome
from .maximization import maximization
from .record import write_quarantine, write_round
from .restore import restored_round
from .round import changed_class_permille, compare_and_sum, mean_score, moved_permille
from .schedule import Step, first_stage, next_step, passed_rounds, with_history
from .start import StartMaps, initial_state
from .state import Refine3DState
from .task import Task, make_task

logger = logging.getLogger(__name__)


def run(
    config: Any, table: Any, source: Any, device: Any, comm: Any, results: Any, maps: StartMaps
) -> Tuple[Refine3DState, Outcome]:
    """Refine maps and poses from particles; write every round; return the last one.

    A round compares every particle with the maps of its half (expectation over support points of
    its pose), adds it at its likely poses, and makes new half maps, their correlation and the
    noise (maximization). The cut-off of the comparison follows the correlation.

    Parameters
    ----------
    config : `Refine3DConfig`.
    table, source : `ParticleTable` of the whole set and its images.
    device, comm : where to compute and with whom.
    results : `RoundFiles` of the run directory.
    maps : initial map and mask, in the box and pixels of the particles.

    Returns
    -------
    state : the maps, on every rank.
    outcome : of this rank's particles.
    """
    task = make_task(config, table, source, device, comm)
    restored = restored_round(task, results) if config.compute.resume else None
    if restored is None:
        state, cloud = initial_state(task, maps), _first_cloud(task)
        outcome = Outcome.none(len(task.rows), task.n_classes)
        write_quarantine(task, results)
    else:
        state, cloud, outcome = restored
        logger.info("continuing after round %d", state.iteration)
    stages = config.stages
    n_unknown = int(task.comm.sum((~cloud.known).sum(keepdims=True))[0])
    first = first_stage(stages, n_unknown == 0)
    while True:
        step = next_step(stages, task.limits, passed_rounds(state.history), first)
        if step is None:
            break
        state, cloud, outcome = _one_round(task, step, state, cloud, outcome, maps, results)
    write_quarantine(task, results, outcome)
    return state, outcome


def _one_round(
    task: Task,
    step: Step,
    state: Refine3DState,
    cloud: PoseCloud,
    before: Outcome,
    maps: StartMaps,
    results: Any,
) -> Tuple[Refine3DState, PoseCloud, Outcome]:
    """Compare, sum, make maps and write."""
    watch = Stopwatch()
    label = f"round {step.iteration}, {step.stage}"
    progress = progress_bar(label, len(task.rows), is_root=task.comm.is_root)
    with watch.phase("compare"), progress as on_batch:
        sums, outcome = compare_and_sum(task, state, step, cloud, before, on_batch)
    with watch.phase("sum"):
        sums = sums.total(task.comm)
        scores = mean_score(outcome, task.half, task.comm)
        moved = moved_permille(task, outcome, before)
        changed = changed_class_permille(task, outcome, before)
    with watch.phase("maps"):
        made = maximization(task, sums, state, step, maps.mask) if task.comm.is_root else None
        del sums
        state, round_maps = task.comm.broadcast(made)
        history = with_history(state, task.config.stages, moved, changed)
        state = replace(state, history=history, mean_score=scores)
    write_round(task, results, state, round_maps, outcome, before, cloud, watch.seconds)
    return state, cloud, outcome


def _first_cloud(task: Task) -> PoseCloud:
    """Return the clouds particles begin with: on their given poses, or nowhere."""
    settings = task.config.filter
    n_defoci = settings.n_local_defoci if task.config.stages.defocus_search else 1
    cloud = PoseCloud.unknown(
        len(task.rows),
        task.n_classes,
        settings.n_local_rotations,
        settings.n_shifts_each,
        even_factors(n_defoci, settings.defocus_std),
    )
    if not task.config.reference.start_from_poses:
        return cloud
    # As wide as the peak of the likelihood at the first cut-off: what lies beyond a local search
    # would not find.
    diameter_px = task.diameter_angst / task.pixel_size_angst
    width = task.box_size_px / task.limits.first_px
    spread = Spread(
        np.rad2deg(0.5 * width / diameter_px), 0.25 * width, task.config.compute.random_seed
    )
    rotations, shift_px, known = task.table.poses3d(task.rows)
    return cloud_around(rotations, shift_px, known, task.ids, cloud, spread)
