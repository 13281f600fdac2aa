# SPDX-License-Identifier: GPL-3.0-or-later
"""What an iteration leaves on the disk; the root rank writes it."""

from __future__ import annotations

from typing import Any, Dict, Mapping, Optional

import numpy as np
import pandas as pd

from cryoralib_plugin.align2d.metrics import class_resolutions, iteration_metrics
from cryoralib_plugin.align2d.state import Align2DState, Assignments
from cryoralib_plugin.align2d.task import Task
from cryoralib_plugin.contract.results import FRC_COLUMNS
from cryoralib_plugin.io.run_files import Checkpoint
from cryoralib_plugin.particles.quarantine import gathered_items, quarantine_frame


def write_iteration(
    task: Task,
    results: Any,
    state: Align2DState,
    now: Assignments,
    before: Assignments,
    seconds: Mapping[str, float],
) -> Optional[Dict[str, float]]:
    """Write metrics, then averages, classes and poses of an iteration; its manifest last.

    Every rank must call this; the root gets the metrics back. A kill between the two leaves a row
    of metrics that the repeated iteration replaces.
    """
    comm = task.comm
    everyone, earlier = comm.gather_rows(now), comm.gather_rows(before)
    if not comm.is_root:
        return None
    row = iteration_metrics(
        state,
        everyone,
        earlier,
        minimum_class_size=task.config.averages.minimum_class_size,
        radius_px=task.outer_radius_px,
        pixel_size_angst=task.pixel_size_angst,
    )
    results.write_metrics({**row, **{f"seconds_{name}": t for name, t in seconds.items()}})
    numbers = np.where(everyone.reference >= 0, task.class_numbers[everyone.reference], 0)
    table = task.table.with_poses(everyone.poses, class_numbers=numbers, scores=everyone.score)
    results.write_iteration(
        Checkpoint(
            iteration=state.iteration,
            pixel_size_angst=task.pixel_size_angst,
            blocks=table.blocks(),
            averages=state.averages,
            half_averages=state.half_averages,
            frc=frc_frame(task, state),
            model=model(task, state, everyone),
        )
    )
    return row


def frc_frame(task: Task, state: Align2DState) -> pd.DataFrame:
    """Return the FRC of every class, one row per class and ring, for run_itNNN_frc.csv."""
    n_rings = state.frc.shape[1]
    ring = np.tile(np.arange(n_rings), state.n_classes)
    frequency = ring / task.box_size_px
    with np.errstate(divide="ignore"):
        resolution = task.pixel_size_angst / frequency
    columns = (np.repeat(task.class_numbers, n_rings), ring, frequency, resolution)
    return pd.DataFrame(dict(zip(FRC_COLUMNS, (*columns, state.frc.ravel()))))


def model(task: Task, state: Align2DState, everyone: Assignments) -> Dict[str, Any]:
    """Return what run_itNNN_model.json tells of an iteration."""
    resolution = class_resolutions(state, task.pixel_size_angst)
    sizes = state.sizes
    live = everyone.reference >= 0
    total = np.bincount(everyone.reference[live], everyone.score[live], minlength=state.n_classes)
    minimum = task.config.averages.minimum_class_size
    return {
        "iteration": state.iteration,
        "program": task.config.program,
        "box_size_px": task.box_size_px,
        "pixel_size_angst": task.pixel_size_angst,
        "outer_radius_px": task.outer_radius_px,
        "n_particles": len(everyone),
        "n_unassigned": int((~live).sum()),
        "random_seed": task.config.compute.random_seed,
        "counts": state.counts.tolist(),
        "classes": [
            {
                "class": int(number),
                "n_members": int(sizes[k]),
                "n_half1": int(state.counts[k, 0]),
                "n_half2": int(state.counts[k, 1]),
                "resolution_angst": float(resolution[k]),
                "mean_score": float(total[k] / max(sizes[k], 1)),
                "alive": bool(sizes[k] >= minimum),
            }
            for k, number in enumerate(task.class_numbers)
        ],
    }


def write_quarantine(task: Task, results: Any) -> None:
    """Write the particles that any rank set aside, if there are any. Every rank must call this."""
    items = gathered_items(task.source.quarantine.items(), task.rows, task.comm)
    if items:
        results.write_quarantine(quarantine_frame(task.table, items))
