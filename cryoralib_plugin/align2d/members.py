# SPDX-License-Identifier: GPL-3.0-or-later
"""Passes over the particles: match them with the references, sum them over their classes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Callable, Tuple

import numpy as np

from cryoralib_plugin.align2d.expectation import (
    expectation,
    frame_room,
    joined,
    search_plan,
    shifts_in_frame,
)
from cryoralib_plugin.align2d.schedule import Step
from cryoralib_plugin.align2d.state import Align2DState, Assignments
from cryoralib_plugin.align2d.task import Task
from cryoralib_plugin.kernels.class_sums import ClassSums, accumulate
from cryoralib_plugin.kernels.device import OutOfMemory
from cryoralib_plugin.kernels.ring_match import prepare_references


def match_and_sum(
    task: Task,
    state: Align2DState,
    step: Step,
    before: Assignments,
    on_batch: Callable[[int], Any],
) -> Tuple[Assignments, ClassSums]:
    """Return this rank's new assignments and the sums over its members, on the host.

    Each image comes to the device once: it is matched and at once added to its class.
    Unusable particles and those outside every class keep no class.
    """
    search = task.config.search
    plan = search_plan(search, step.shifts, task.outer_radius_px)
    references = prepare_references(state.averages, plan, normalise=search.normalise_references)
    room = frame_room(task.box_size_px, task.outer_radius_px)
    start = shifts_in_frame(before.poses.shift_px, room, search.outside_frame)
    sums = _empty_sums(task)
    done, parts = [], []
    for chosen, images in task.batches(_taking_part(task)):
        part = expectation(
            images,
            start[chosen],
            references,
            plan,
            candidates=None if task.candidates is None else task.candidates[chosen],
            out_of_memory=(OutOfMemory,),
        )
        _add(task, sums, chosen, images, part)
        done.append(chosen)
        parts.append(part)
        on_batch(len(chosen))
    now = Assignments.none(len(task.rows))
    if parts:
        now = now.with_rows(np.concatenate(done), joined(parts))
    return now, task.device.to_host(sums)


def sum_members(task: Task, assignments: Assignments, chosen: np.ndarray) -> ClassSums:
    """Return the sums over some of this rank's particles, on the host.

    Parameters
    ----------
    chosen : (m,) integers, ascending indices into the rows of this rank.
    """
    sums = _empty_sums(task)
    for indices, images in task.batches(chosen):
        _add(task, sums, indices, images, assignments[indices])
    return task.device.to_host(sums)


def with_moved_members(
    task: Task, sums: ClassSums, before: Assignments, after: Assignments
) -> ClassSums:
    """Return the sums after some particles went to other classes: integers, so exactly."""
    moved = np.flatnonzero(before.reference != after.reference)
    if not len(moved):
        return sums
    taken, given = sum_members(task, before, moved), sum_members(task, after, moved)
    return replace(
        sums,
        images=sums.images - taken.images + given.images,
        counts=sums.counts - taken.counts + given.counts,
        ctf_power=sums.ctf_power - taken.ctf_power + given.ctf_power,
    )


def _taking_part(task: Task) -> np.ndarray:
    if task.candidates is None:
        return np.arange(len(task.rows))
    return np.flatnonzero(task.candidates[:, 1] > task.candidates[:, 0])


def _empty_sums(task: Task) -> ClassSums:
    return ClassSums.zeros(
        task.n_classes, task.box_size_px, task.device, with_ctf=task.ctf is not None
    )


def _add(task: Task, sums: ClassSums, chosen: np.ndarray, images: Any, part: Assignments) -> None:
    accumulate(
        sums,
        images,
        part.poses,
        part.reference,
        task.half[chosen],
        ctf=None if task.ctf is None else task.ctf[chosen],
        pixel_size_angst=task.pixel_size_angst,
    )
