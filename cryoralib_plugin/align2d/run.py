# SPDX-License-Identifier: GPL-3.0-or-later
"""Multi-reference and reference-free alignment: one loop for both."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any, Optional, Tuple

import numpy as np

from cryoralib_plugin.align2d.assignment import balanced_classes, refill_empty_classes
from cryoralib_plugin.align2d.maximization import maximization
from cryoralib_plugin.align2d.members import (
    Matcher,
    match_and_sum,
    matched_with,
    move_members,
)
from cryoralib_plugin.align2d.progress import Progress
from cryoralib_plugin.align2d.record import write_iteration, write_quarantine
from cryoralib_plugin.align2d.references import read_references
from cryoralib_plugin.align2d.schedule import Step, make_schedule
from cryoralib_plugin.align2d.start import initial_state, restored
from cryoralib_plugin.align2d.state import Align2DState, Assignments
from cryoralib_plugin.align2d.task import Task, make_task
from cryoralib_plugin.contract.presets import apply_preset
from cryoralib_plugin.geometry.rigid2d import Poses2D, recentre
from cryoralib_plugin.kernels.class_sums import ClassSums
from cryoralib_plugin.parallel.progress import Stopwatch

logger = logging.getLogger(__name__)


def run(
    config: Any,
    table: Any,
    source: Any,
    device: Any,
    comm: Any,
    results: Any,
    *,
    references: Optional[np.ndarray] = None,
) -> Tuple[Align2DState, Assignments]:
    """Align and classify particles; write every iteration; return the last one.

    Multi-reference alignment (Algorithm 1 of Cryo-RALib) compares every particle with every
    reference at all shifts, angles and both hands; reference-free alignment is the same with one
    reference, or with one for each given class and every particle kept to its own.

    An iteration is matching, then averaging: the averages it returns and writes are the means of
    exactly the members it lists, at the poses it lists (centring included). So the last thing
    done is an expectation and the averaging of its outcome, after which nothing is split or
    re-seeded; a class that is empty then is empty in the result.

    Parameters
    ----------
    config : `MultireferenceConfig` or `ReferenceFreeConfig`.
    table, source : `ParticleTable` of the whole set and its images.
    device, comm : where to compute and with whom.
    results : `RunFiles` of the run directory.
    references : (n_classes, N, N) float32; by default those of `config.files`, if any.

    Returns
    -------
    state : the averages, on every rank.
    assignments : of this rank's particles.
    """
    config = apply_preset(config)
    if references is None:
        references = read_references(config, source, comm)
    n_references = 0 if references is None else len(references)
    task = make_task(config, table, source, device, comm, n_references)
    schedule = make_schedule(task.config, task.outer_radius_px, annealed=references is None)
    checkpoint = None
    if config.compute.resume:
        checkpoint = comm.broadcast(results.read_checkpoint() if comm.is_root else None)
    if checkpoint is None:
        state, assignments = initial_state(task, references)
        write_quarantine(task, results)
    else:
        state, assignments = restored(task, checkpoint)
        logger.info("continuing after iteration %d", state.iteration)
    progress = Progress(len(schedule), state.iteration, is_root=comm.is_root)
    for step in schedule[state.iteration :]:
        state, assignments = _iterate(task, step, state, assignments, results, progress)
    write_quarantine(task, results)
    return state, assignments


def _iterate(
    task: Task,
    step: Step,
    state: Align2DState,
    before: Assignments,
    results: Any,
    progress: Progress,
) -> Tuple[Align2DState, Assignments]:
    """Match, average and write: one iteration."""
    watch = Stopwatch()
    now, sums = _matched(task, step, state, before, progress, watch)
    with watch.phase("sum"):
        sums = task.comm.sum(sums)
    with watch.phase("average"):
        members = task.comm.gather_rows(now)
        found = None
        if task.comm.is_root:
            found = maximization(
                sums,
                task.config,
                iteration=step.iteration,
                outer_radius_px=task.outer_radius_px,
                cutoff_per_px=step.cutoff_per_px,
                members=members,
            )
        # They are large, and ranks need room to exchange the averages.
        del sums
        state, centre_px = task.comm.broadcast(found)
    now = replace(now, poses=_moved(task, now, centre_px))
    row = write_iteration(task, results, state, now, before, watch.seconds)
    progress.finished(row)
    return state, now


def _matched(
    task: Task,
    step: Step,
    state: Align2DState,
    before: Assignments,
    progress: Progress,
    watch: Stopwatch,
) -> Tuple[Assignments, ClassSums]:
    """Return this rank's assignments and the sums over its members."""
    with watch.phase("match"), progress.iteration(step.iteration, len(task.rows)) as on_batch:
        matcher = Matcher.of(task, state, step, before)
        now, sums, scores = match_and_sum(task, matcher, on_batch, keep_scores=step.balanced)
    with watch.phase("sum"):
        if step.balanced:
            reference = balanced_classes(scores, task.comm)
            balanced = matched_with(task, matcher, now, reference)
            move_members(task, sums, now, balanced)
            now = balanced
        return _with_rules(task, step, now, sums), sums


def _with_rules(task: Task, step: Step, now: Assignments, sums: ClassSums) -> Assignments:
    """Fill empty classes again and change the sums, unless the classes are the run's result."""
    averages = task.config.averages
    sizes = task.comm.sum(sums.counts).sum(axis=1)
    few = sizes < averages.minimum_class_size
    if step.is_last or task.n_classes == 1 or task.candidates is not None or not few.any():
        return now
    logger.info("iteration %d: %d classes are empty", step.iteration, int(few.sum()))
    everyone = task.comm.gather_rows(now)
    reference = None
    if task.comm.is_root:
        reference = refill_empty_classes(
            everyone.reference,
            everyone.score,
            np.asarray(task.table.image_ids),
            n_classes=task.n_classes,
            minimum_size=averages.minimum_class_size,
            policy=averages.empty_class,
            seed=task.config.compute.random_seed,
            iteration=step.iteration,
        )
    refilled = replace(now, reference=task.comm.broadcast(reference)[task.rows])
    move_members(task, sums, now, refilled)
    return refilled


def _moved(task: Task, now: Assignments, centre_px: np.ndarray) -> Poses2D:
    """Return the poses that belong to the centred averages, as they read back from the disk.

    A run that continues from its files must go on from the same bits, so the running shift is
    what Angstroms in a file give back, not what was found.
    """
    poses = now.poses
    if task.config.averages.centre_members:
        own = np.where(now.reference[:, None] >= 0, centre_px[now.reference], 0.0)
        poses = recentre(poses, own)
    pixel_size = task.pixel_size_angst
    return replace(poses, shift_px=poses.shift_px * pixel_size / pixel_size)
