# SPDX-License-Identifier: GPL-3.0-or-later
"""The program that makes a map of particles whose poses are known, and does nothing else."""

from __future__ import annotations

import logging
from dataclasses import fields, replace
from typing import Any, Optional

import numpy as np

from cryoralib_plugin.contract import labels
from cryoralib_plugin.contract._param import ConfigError
from cryoralib_plugin.contract.reconstruct import ReconstructConfig, as_refinement
from cryoralib_plugin.io.hdf5_arrays import read_arrays
from cryoralib_plugin.parallel.progress import progress_bar

from .cloud import PoseCloud
from .reconstruct_known import reconstruct_known
from .record import PARTICLES, write_reconstruction
from .start import StartMaps
from .state import RoundMaps
from .task import Task, make_task

logger = logging.getLogger(__name__)

_LARGEST_CHANGE = 0.2
"""Share of a defocus that no refinement changes for most particles."""


def run(
    config: ReconstructConfig,
    table: Any,
    source: Any,
    device: Any,
    comm: Any,
    results: Any,
    maps: StartMaps,
) -> RoundMaps:
    """Make half maps, a map and its resolution, and write them as round 1 of a run.

    Parameters
    ----------
    config : parameters.
    table, source : `ParticleTable` of the whole set and its images.
    device, comm : where to compute and with whom.
    results : `RoundFiles` of the run directory.
    maps : the mask of the user; an initial map is not needed.
    """
    if labels.WEIGHT in table.particles and not config.reference.use_weights:
        table = replace(table, particles=table.particles.drop(columns=[labels.WEIGHT]))
    task = make_task(as_refinement(config), table, source, device, comm)
    cloud = _support_points(task, config.files.points_file)
    with progress_bar("reconstruction", len(task.rows), is_root=comm.is_root) as on_batch:
        state, made = reconstruct_known(task, cloud=cloud, mask=maps.mask, on_batch=on_batch)
    write_reconstruction(task, results, state, made)
    return made


def _support_points(task: Task, path: str) -> Optional[PoseCloud]:
    """Return the support points of this rank's particles in their own classes, if a file has them.

    Particles the file does not know are left out. Shifts come to the pixels of this program, and
    factors to the defoci of its particles: those of a refinement hold what it found already.
    """
    if not path:
        return None
    theirs = read_arrays(path, PARTICLES)
    ids = theirs["image_ids"]
    order = np.argsort(ids, kind="stable")
    place = np.minimum(np.searchsorted(ids[order], task.ids), len(ids) - 1)
    rows = order[place]
    found = ids[rows] == task.ids
    n_found = int(task.comm.sum(np.array([found.sum()]))[0])
    if not n_found:
        raise ConfigError(
            f"{path} holds support points of other particles: none of the {len(task.table)} has "
            f"an {labels.IMAGE_ID} in it. Give the file of the run the particle file comes from"
        )
    if n_found < len(task.table):
        logger.warning(
            "%s has no support points of %d of %d particles: they are left out",
            path, len(task.table) - n_found, len(task.table),
        )  # fmt: skip
    whole = PoseCloud(**read_arrays(path))
    number = np.maximum(task.table.class_numbers[task.rows] - 1, 0)
    parts = {}
    for field in fields(whole):
        values = getattr(whole, field.name)
        if field.name == "known":
            parts[field.name] = values[rows] & found
        else:
            own = np.minimum(number, values.shape[1] - 1)
            parts[field.name] = values[rows, own][:, None]
    defocus = theirs["defocus_u_angst"][rows] / task.ctf.defocus_u_angst
    parts["defocus_factor"] = (parts["defocus_factor"] * defocus[:, None, None]).astype(np.float32)
    scale = theirs["pixel_size_angst"][0] / task.pixel_size_angst
    parts["shift_px"] = (parts["shift_px"] * scale).astype(np.float32)
    _check_defoci(task, path, parts["defocus_factor"][found].mean(axis=(1, 2)))
    return PoseCloud(**parts)


def _check_defoci(task: Task, path: str, factor: np.ndarray) -> None:
    """Refuse support points of particles that have the same numbers and other defoci."""
    other = np.abs(factor - 1.0) > _LARGEST_CHANGE
    n_other, n = (int(count) for count in task.comm.sum(np.array([other.sum(), len(other)])))
    if 2 * n_other > n:
        raise ConfigError(
            f"{path} holds support points of other particles: {n_other} of {n} have a defocus that "
            f"differs by more than {_LARGEST_CHANGE:.0%}. Give the file of the run the particle "
            "file comes from"
        )
