# SPDX-License-Identifier: GPL-3.0-or-later
"""A run goes on where it stood: the arrays that were written are the arrays it continues with."""

from __future__ import annotations

from typing import Any, Dict, Optional, Tuple

import numpy as np

from cryoralib_plugin.contract._param import ConfigError
from cryoralib_plugin.io.round_files import SavedRound

from .cloud import PoseCloud
from .expectation import Outcome
from .record import OUTCOME, PARTICLES, STATE
from .state import Refine3DState
from .task import Task


def restored_round(task: Task, results: Any) -> Optional[Tuple[Refine3DState, PoseCloud, Outcome]]:
    """Return what the newest whole round in a run directory left; every rank must call this.

    Parameters
    ----------
    task
        `refine3d.task.Task`.
    results
        `io.round_files.RoundFiles` of the run directory.

    Returns
    -------
    state
        On every rank.
    cloud, outcome
        Of this rank's particles, which every rank reads for itself.
    None
        Where no round is whole.

    Raises
    ------
    ConfigError
        If the round belongs to other particles, classes, symmetry or another box.
    """
    saved = task.comm.broadcast(results.newest_round() if task.comm.is_root else None)
    if saved is None:
        return None
    model = saved.read_model()
    _check_same_run(task, saved, model)
    references = saved.read_references(len(model["classes"])) if task.comm.is_root else None
    state = Refine3DState(references=task.comm.broadcast(references), **saved.read_arrays(STATE))
    cloud = PoseCloud(**saved.read_arrays("/", rows=task.rows))
    return state, cloud, Outcome(**saved.read_arrays(OUTCOME, rows=task.rows))


def _check_same_run(task: Task, saved: SavedRound, model: Dict[str, Any]) -> None:
    """Refuse to continue with other particles or another kind of map."""
    config = task.config
    ids = saved.read_arrays(PARTICLES)["image_ids"]
    same_particles = np.array_equal(ids, task.table.image_ids)
    theirs = (model["box_size_px"], len(model["classes"]), model["symmetry"])
    ours = (task.box_size_px, config.reference.n_classes, config.reference.symmetry)
    if not same_particles or theirs != ours:
        raise ConfigError(
            f"the run to continue has {len(ids)} particles in boxes of {theirs[0]} px, "
            f"{theirs[1]} class(es) and symmetry {theirs[2]}, but this one has {len(task.table)} "
            f"{'' if same_particles else 'other '}particles in boxes of {ours[0]} px, {ours[1]} "
            f"class(es) and symmetry {ours[2]}: continue with the parameters and the particle file "
            "of that run, or choose another output_dir"
        )
