# SPDX-License-Identifier: GPL-3.0-or-later
"""What a round leaves on the disk; the root rank writes it."""

from __future__ import annotations

import logging
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Dict, Mapping, Optional, Tuple

import numpy as np
import pandas as pd

from cryoralib_plugin.contract import labels
from cryoralib_plugin.contract.reconstruct import ReconstructConfig
from cryoralib_plugin.geometry.rotations import angle_between
from cryoralib_plugin.io.round_files import Checkpoint3D
from cryoralib_plugin.particles.quarantine import NO_WEIGHT, gathered_items, quarantine_frame
from cryoralib_plugin.particles.table import ParticleTable
from cryoralib_plugin.particles.thunder import THU_SUFFIX, thu_from_table

from .cloud import PoseCloud
from .expectation import Outcome
from .round_tables import (
    fsc_frame,
    metrics_row,
    model_of,
    noise_frame,
    resolutions_angst,
    unmasked_resolution_angst,
)
from .state import Refine3DState, RoundMaps
from .task import Task

logger = logging.getLogger(__name__)

OUTCOME, STATE, PARTICLES = "outcome", "state", "particles"
"""Groups of the file of arrays, beside the support points at its root."""

_NOTHING_KNOWN_DEG = 180.0


def write_round(
    task: Task,
    results: Any,
    state: Refine3DState,
    maps: RoundMaps,
    outcome: Outcome,
    before: Outcome,
    cloud: PoseCloud,
    seconds: Mapping[str, float],
) -> Optional[Dict[str, Any]]:
    """Write metrics, then maps, poses and support points of a round; its manifest last.

    Every rank must call this; the root gets the metrics back. A kill between the two leaves a row
    of metrics that the repeated round replaces.

    Parameters
    ----------
    task
        `refine3d.task.Task`.
    results
        `io.round_files.RoundFiles` of the run directory.
    outcome, before
        What this round and the one before it say about this rank's particles, on the host.
    cloud
        Of the same particles; what is written is what the next round begins with.
    """
    comm = task.comm
    everyone, earlier = comm.gather_rows(outcome), comm.gather_rows(before)
    clouds = comm.gather_rows(cloud)
    write_quarantine(task, results, outcome)
    if not comm.is_root:
        return None
    both = everyone.usable & earlier.usable
    change = angle_between(everyone.rotations[both], earlier.rotations[both], task.operators)
    row = metrics_row(task, state, maps, everyone, change)
    results.write_metrics({**row, **{f"seconds_{name}": t for name, t in seconds.items()}})
    table = table_of_outcome(task.table, everyone, task.box_size_px, state.norm)
    results.write_round(
        Checkpoint3D(
            iteration=state.iteration,
            pixel_size_angst=task.pixel_size_angst,
            blocks=table.blocks(),
            unfiltered_halves=maps.unfiltered_halves,
            merged=maps.merged,
            masks=maps.masks,
            fsc=fsc_frame(task, state, maps),
            noise=noise_frame(state),
            model=model_of(task, state, maps, everyone),
            references=state.references,
            arrays={
                "/": members_of(clouds),
                OUTCOME: members_of(everyone),
                # They are in files of their own.
                STATE: members_of(state, left_out=("references",)),
                # What the support points are measured in, for those who read them elsewhere.
                PARTICLES: {
                    "image_ids": task.table.image_ids,
                    "defocus_u_angst": task.table.ctf().defocus_u_angst,
                    "pixel_size_angst": np.array([task.pixel_size_angst]),
                },
            },
            thu=_thunder(task, table),
        )
    )
    return row


def write_reconstruction(task: Task, results: Any, state: Refine3DState, maps: RoundMaps) -> None:
    """Write maps from known poses as a round of their own; every rank must call this.

    There is nothing to continue from: no references, no support points.
    """
    write_quarantine(task, results)
    if not task.comm.is_root:
        return
    known = task.table.poses3d()[2]
    given = replace(Outcome.none(len(known), task.n_classes), usable=known)
    nothing = replace(given, usable=np.zeros(len(known), dtype=bool))
    results.write_metrics(metrics_row(task, state, maps, nothing, np.zeros(0)))
    results.write_round(
        Checkpoint3D(
            iteration=state.iteration,
            pixel_size_angst=task.pixel_size_angst,
            blocks=task.table.blocks(),
            unfiltered_halves=maps.unfiltered_halves,
            merged=maps.merged,
            masks=maps.masks,
            fsc=fsc_frame(task, state, maps),
            noise=noise_frame(state),
            model={**model_of(task, state, maps, given), "program": ReconstructConfig.program},
        )
    )
    logger.info(
        "resolution %.2f A (unmasked %.2f A) from %d of %d particles",
        resolutions_angst(task, state)[0],
        unmasked_resolution_angst(task, maps.curves[0]),
        int(known.sum()),
        len(known),
    )


def members_of(record: Any, left_out: Tuple[str, ...] = ()) -> Dict[str, Any]:
    """Return the fields of a dataclass by name."""
    return {
        field.name: getattr(record, field.name)
        for field in fields(record)
        if field.name not in left_out
    }


def table_of_outcome(
    table: ParticleTable, outcome: Outcome, box_size_px: int, norm: np.ndarray
) -> ParticleTable:
    """Return the particles with what a round says about them.

    A particle the round could not use is of class 0 and weight 0, and keeps the pose it came with.

    Parameters
    ----------
    table
        As it was given: defocus factors multiply its defoci.
    outcome
        Of all its particles.
    norm
        (n,) float64, what images are multiplied by, or empty. RELION divides by its column.
    """
    found, usable = np.flatnonzero(outcome.usable), outcome.usable
    table = table.with_half_sets().with_poses3d(
        outcome.rotations[found], outcome.shift_px[found], rows=found
    )
    factor = np.where(usable, outcome.defocus_factor, 1.0)
    columns = {
        labels.CLASS_NUMBER: np.where(usable, outcome.class_index + 1, 0),
        labels.FIGURE_OF_MERIT: np.where(usable, outcome.score, 0.0),
        labels.MAX_PROBABILITY: np.where(usable, outcome.class_probability.max(axis=1), 0.0),
        labels.LOG_LIKELIHOOD: np.where(usable, outcome.log_likelihood, 0.0),
        labels.ANGULAR_STD: np.where(usable, outcome.angular_std_deg, _NOTHING_KNOWN_DEG),
        labels.SHIFT_STD: np.where(usable, outcome.shift_std_px, box_size_px / 2),
        labels.DEFOCUS_FACTOR: factor,
        labels.DEFOCUS_STD: np.where(usable, outcome.defocus_std, 0.0),
        labels.WEIGHT: np.where(usable, outcome.weight, 0.0),
    }
    for name in (labels.DEFOCUS_U, labels.DEFOCUS_V):
        if name in table.particles:
            columns[name] = table.particles[name].to_numpy(np.float64) * factor
    if len(norm):
        columns[labels.NORM_CORRECTION] = 1.0 / norm
    return table.with_columns(columns)


def _thunder(task: Task, table: ParticleTable) -> Optional[pd.DataFrame]:
    """The particles as THUNDER writes them, where they came from such a file."""
    path = Path(task.config.files.particles_file)
    return thu_from_table(table) if path.suffix.lower() == THU_SUFFIX else None


def write_quarantine(task: Task, results: Any, outcome: Optional[Outcome] = None) -> None:
    """Write the particles that any rank set aside, if there are any. Every rank must call this.

    Parameters
    ----------
    outcome
        Of this rank's particles in the last round. Those it could not use are listed too, but not
        set aside: the next round tries them again.
    """
    known = dict(task.source.quarantine.items())
    if outcome is not None:
        for row in task.rows[~outcome.usable].tolist():
            known.setdefault(row, NO_WEIGHT)
    items = gathered_items(known.items(), task.rows, task.comm)
    if items:
        results.write_quarantine(quarantine_frame(task.table, items))
