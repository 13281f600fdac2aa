# SPDX-License-Identifier: GPL-3.0-or-later
"""The first references: given, made of random groups, or made of the classes particles have."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Optional, Tuple

import numpy as np

from cryoralib_plugin.align2d.maximization import MASK_EDGE_PX, maximization, without_mean
from cryoralib_plugin.align2d.members import sum_members
from cryoralib_plugin.align2d.schedule import annealing_cutoff
from cryoralib_plugin.align2d.state import Align2DState, Assignments
from cryoralib_plugin.align2d.task import Task
from cryoralib_plugin.contract import labels
from cryoralib_plugin.contract._param import ConfigError
from cryoralib_plugin.fourier.masks import circular_mask
from cryoralib_plugin.kernels.random import uniform

RANDOM_GROUP_PHASE = 1


def initial_state(task: Task, references: Optional[np.ndarray]) -> Tuple[Align2DState, Assignments]:
    """Return the references of the first iteration and the poses its search starts from.

    Parameters
    ----------
    references : (n_classes, N, N) float32, or None to make them of the particles.
    """
    start = replace(Assignments.none(len(task.rows)), poses=task.first_poses())
    if references is not None:
        return given_references(task, references), start
    groups = Assignments(_first_classes(task), start.poses, start.score)
    sums = task.comm.sum(sum_members(task, groups, np.arange(len(task.rows))))
    state = None
    if task.comm.is_root:
        state, _ = maximization(
            sums,
            task.config,
            iteration=0,
            outer_radius_px=task.outer_radius_px,
            cutoff_per_px=annealing_cutoff(task.config, 0, task.outer_radius_px),
        )
    return task.comm.broadcast(state), start


def random_balanced_groups(image_ids: np.ndarray, n_groups: int, seed: int) -> np.ndarray:
    """Return (n,) int32 groups from 0 whose sizes differ by at most one, drawn by particle id."""
    draws = uniform(seed, 0, RANDOM_GROUP_PHASE, image_ids, 1)[:, 0]
    rank = np.empty(len(draws), dtype=np.int64)
    rank[np.lexsort((image_ids, draws))] = np.arange(len(draws))
    return (rank * n_groups // max(len(draws), 1)).astype(np.int32)


def given_references(task: Task, references: np.ndarray) -> Align2DState:
    """Return references as a state, their mean in the mask removed.

    Raises
    ------
    ConfigError
        If their box differs from the particles', or they hold numbers that are not finite.
    """
    box = task.box_size_px
    if references.ndim != 3 or references.shape[1:] != (box, box):
        raise ConfigError(
            f"references must have the box of the particles, {box} x {box} px, but their shape "
            f"is {' x '.join(map(str, references.shape[1:]))} px: resample them, or set "
            "downsample_box_px so that the boxes agree"
        )
    flat = references.reshape(len(references), -1)
    for i, pixels in enumerate(flat):
        if not np.isfinite(pixels).all() or pixels.min() == pixels.max():
            raise ConfigError(
                f"reference {i + 1} is constant or holds numbers that are not finite: leave it out"
            )
    mask = circular_mask(box, task.outer_radius_px, MASK_EDGE_PX).astype(np.float64)
    n = len(references)
    return Align2DState(
        iteration=0,
        averages=without_mean(references, mask),
        half_averages=np.zeros((n, 2, box, box), dtype=np.float32),
        frc=np.zeros((n, box // 2 + 1)),
        counts=np.zeros((n, 2), dtype=np.int64),
    )


def _first_classes(task: Task) -> np.ndarray:
    if task.candidates is not None:
        first, last = task.candidates.T
        return np.where(last > first, first, -1).astype(np.int32)
    groups = random_balanced_groups(
        np.asarray(task.table.image_ids), task.n_classes, task.config.compute.random_seed
    )
    return groups[task.rows]


def restored(task: Task, checkpoint: Any) -> Tuple[Align2DState, Assignments]:
    """Return averages and poses as they stood after the iteration of a checkpoint.

    Raises
    ------
    ConfigError
        If the checkpoint belongs to other particles, classes or another box.
    """
    table = type(task.table).from_blocks(checkpoint.blocks)
    same = len(table) == len(task.table) and np.array_equal(table.image_ids, task.table.image_ids)
    shape = (task.n_classes, task.box_size_px, task.box_size_px)
    if not same or checkpoint.averages.shape != shape:
        raise ConfigError(
            f"the run to continue has {len(table)} particles and averages of shape "
            f"{checkpoint.averages.shape}, but this one has {len(task.table)} particles and needs "
            f"{shape}: continue with the parameters and the particle file of that run, or choose "
            "another output_dir"
        )
    mine = table.at_pixel_size(task.pixel_size_angst).select(task.rows)
    numbers = np.asarray(mine.class_numbers)
    reference = np.where(numbers > 0, np.searchsorted(task.class_numbers, numbers), -1)
    score = mine.particles[labels.FIGURE_OF_MERIT].to_numpy(np.float64)
    counts = np.array(checkpoint.model["counts"], dtype=np.int64).reshape(task.n_classes, 2)
    frc = checkpoint.frc["frc"].to_numpy().reshape(task.n_classes, -1)
    state = Align2DState(
        checkpoint.iteration, checkpoint.averages, checkpoint.half_averages, frc, counts
    )
    return state, Assignments(reference.astype(np.int32), mine.poses(), score)
