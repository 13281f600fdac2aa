# SPDX-License-Identifier: GPL-3.0-or-later
"""Passes over the particles: match them with the references, sum them over their classes."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Callable, Optional, Tuple

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
from cryoralib_plugin.kernels.ring_match import MatchPlan, ReferenceRings, prepare_references


@dataclass(frozen=True)
class Matcher:
    """What an iteration compares this rank's particles with, and where their search starts.

    Attributes
    ----------
    start_px : (n_rows, 2) float64, x and y, pixels.
    """

    plan: MatchPlan
    references: ReferenceRings
    start_px: np.ndarray

    @classmethod
    def of(cls, task: Task, state: Align2DState, step: Step, before: Assignments) -> Matcher:
        """Prepare the references and the search of an iteration."""
        search = task.config.search
        plan = search_plan(search, step.shifts, task.outer_radius_px)
        room = frame_room(task.box_size_px, task.outer_radius_px)
        poses = task.first_poses() if step.restarts_shifts else before.poses
        return cls(
            plan,
            prepare_references(
                task.shown_by_particles(state.averages),
                plan,
                normalise=search.normalise_references,
            ),
            shifts_in_frame(poses.shift_px, room, search.outside_frame),
        )

    def match(
        self, images: Any, chosen: np.ndarray, candidates: Optional[np.ndarray]
    ) -> Tuple[Assignments, np.ndarray]:
        """Return the assignments of some particles and their score with every reference."""
        return expectation(
            images,
            self.start_px[chosen],
            self.references,
            self.plan,
            candidates=candidates,
            out_of_memory=(OutOfMemory,),
        )


def match_and_sum(
    task: Task, matcher: Matcher, on_batch: Callable[[int], Any], *, keep_scores: bool = False
) -> Tuple[Assignments, ClassSums, np.ndarray]:
    """Return this rank's new assignments and the sums over its members, on the host.

    Each image comes to the device once: it is matched and at once added to its class.
    Unusable particles and those outside every class keep no class.

    Returns
    -------
    assignments, sums
    scores : (n_rows, n_classes) float32 if kept, else of no columns; minus infinity for particles
        without class.
    """
    sums = _empty_sums(task)
    scores = np.full((len(task.rows), task.n_classes if keep_scores else 0), -np.inf, np.float32)
    done, parts = [], []
    for chosen, images in task.batches(_taking_part(task)):
        candidates = None if task.candidates is None else task.candidates[chosen]
        part, reference_scores = matcher.match(images, chosen, candidates)
        _add(task, sums, chosen, images, part)
        if keep_scores:
            scores[chosen] = reference_scores
        done.append(chosen)
        parts.append(part)
        on_batch(len(chosen))
    now = Assignments.none(len(task.rows))
    if parts:
        now = now.with_rows(np.concatenate(done), joined(parts))
    return now, task.device.to_host(sums), scores


def matched_with(
    task: Task, matcher: Matcher, now: Assignments, reference: np.ndarray
) -> Assignments:
    """Return the assignments with some particles matched with other classes than their best.

    Parameters
    ----------
    reference : (n_rows,) int32, the class of each particle; -1 for none.
    """
    done, parts = [], []
    for chosen, images in task.batches(np.flatnonzero(reference != now.reference)):
        only = np.stack([reference[chosen], reference[chosen] + 1], axis=1)
        part, _ = matcher.match(images, chosen, only)
        done.append(chosen)
        parts.append(part)
    return now.with_rows(np.concatenate(done), joined(parts)) if parts else now


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


def move_members(task: Task, sums: ClassSums, before: Assignments, after: Assignments) -> None:
    """Let some particles go to other classes: integers, changed in place, so exact."""
    moved = np.flatnonzero(before.reference != after.reference)
    if not len(moved):
        return
    for change, assignments in ((np.subtract, before), (np.add, after)):
        members = sum_members(task, assignments, moved)
        for field in fields(ClassSums):
            total = getattr(sums, field.name)
            change(total, getattr(members, field.name), out=total)
        del members  # as large as the sums: never two of them


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
