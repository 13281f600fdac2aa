# SPDX-License-Identifier: GPL-3.0-or-later
"""A run goes on where it stood: the arrays that were written are the arrays it continues with."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Dict, Optional, Tuple

import numpy as np

from cryoralib_plugin.contract._param import ConfigError
from cryoralib_plugin.io.round_files import SavedRound

from .cloud import PoseCloud, even_factors
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
        If the round belongs to other particles, classes, symmetry or another box, or to particles
        that were not shifted while these are.
    """
    saved = task.comm.broadcast(results.newest_round() if task.comm.is_root else None)
    if saved is None:
        return None
    model = saved.read_model()
    _check_same_run(task, saved, model)
    references = saved.read_references(len(model["classes"])) if task.comm.is_root else None
    state = Refine3DState(references=task.comm.broadcast(references), **saved.read_arrays(STATE))
    cloud = _like(task, PoseCloud(**saved.read_arrays("/", rows=task.rows)))
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


def _like(task: Task, cloud: PoseCloud) -> PoseCloud:
    """Return clouds with support points in all that this run searches.

    Defoci that were not searched so far spread as in a fresh run; where particles were not shifted
    the map is another one, and the run must begin anew.
    """
    settings = task.config.filter
    if cloud.shift_px.shape[2] == 1 < settings.n_shifts_each:
        raise ConfigError(
            f"the run to continue did not shift its particles (shift_std_px 0), but shift_std_px "
            f"is {settings.shift_std_px:g} now: leave it at 0, or choose another output_dir"
        )
    if task.config.stages.defocus_search and cloud.defocus_factor.shape[2] == 1:
        spread = even_factors(settings.n_local_defoci, settings.defocus_std)
        return replace(cloud, defocus_factor=cloud.defocus_factor * spread.astype(np.float32))
    return cloud
