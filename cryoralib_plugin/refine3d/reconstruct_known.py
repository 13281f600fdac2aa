# SPDX-License-Identifier: GPL-3.0-or-later
"""Maps from poses that are known already, or from clouds of support points, without a search."""

from __future__ import annotations

from typing import Any, Callable, Optional, Tuple

import numpy as np

from cryoralib_plugin.arrays import namespace_of
from cryoralib_plugin.contract import labels
from cryoralib_plugin.fourier.band import FourierBand, shift_phases
from cryoralib_plugin.geometry.rotations import to_matrices
from cryoralib_plugin.kernels.backproject import Views, backproject

from .cloud import PoseCloud
from .image_power import initial_noise_power, summed_image_power
from .maximization import maximization
from .particle_data import ParticleData
from .round import empty_sums
from .schedule import Step
from .state import LOCAL, Refine3DState, RoundMaps
from .sums import POWER_UNIT, RoundSums
from .task import Task

MOST_VIEWS = 24
"""Support points in rotation at which a particle of a cloud enters the map."""


def reconstruct_known(
    task: Task,
    *,
    cloud: Optional[PoseCloud] = None,
    mask: Optional[np.ndarray] = None,
    on_batch: Callable[[int], Any] = lambda n: None,
) -> Tuple[Refine3DState, RoundMaps]:
    """Return half maps, merged map, correlation and masks of particles whose poses are given.

    Images are read twice: for the noise, which weighs groups of particles against one another,
    and for the sums. Every rank must call this, and gets the same maps.

    Parameters
    ----------
    task : particles of this rank, in one class; particles without a pose are left out.
    cloud : support points of this rank's particles in one class, on the host; the poses in the
        table where there is none.
    mask : (N, N, N) float32, the mask of the user.
    on_batch : called with the number of particles just done.
    """
    noise = initial_noise_power(task.comm.sum(summed_image_power(task)))
    return maps_of_poses(task, noise, cloud=cloud, mask=mask, on_batch=on_batch)


def maps_of_poses(
    task: Task,
    noise_power: np.ndarray,
    *,
    cloud: Optional[PoseCloud] = None,
    mask: Optional[np.ndarray] = None,
    on_batch: Callable[[int], Any] = lambda n: None,
) -> Tuple[Refine3DState, RoundMaps]:
    """Return what :func:`reconstruct_known` does, where the noise is known."""
    box, last = task.box_size_px, task.limits.last_px
    before = Refine3DState(
        iteration=0,
        stage=LOCAL,
        cutoff_px=last,
        references=np.zeros((1, 2, box, box, box), np.float32),
        noise_power=noise_power,
        class_shares=np.ones(1),
        fsc=np.zeros((1, box // 2 + 1)),
    )
    points = cloud_of_table(task) if cloud is None else cloud
    sums = summed_at_poses(task, before, points, on_batch).total(task.comm)
    step = Step(1, LOCAL, last, last)
    made = maximization(task, sums, before, step, mask) if task.comm.is_root else None
    return task.comm.broadcast(made)


def cloud_of_table(task: Task) -> PoseCloud:
    """Return the poses of this rank's particles as clouds of one point, in one class."""
    rotations, shift_px, known = task.table.poses3d(task.rows)
    return PoseCloud(
        rotations[:, None, None].astype(np.float32),
        shift_px[:, None, None].astype(np.float32),
        np.ones((len(task.rows), 1, 1), np.float32),
        known,
    )


def summed_at_poses(
    task: Task, state: Refine3DState, cloud: PoseCloud, on_batch: Callable[[int], Any]
) -> RoundSums:
    """Return the sums, on the host, of this rank's particles at the points of their clouds.

    A particle counts `cryoralibWeight` times where the table has that column.
    """
    band = FourierBand.between(task.box_size_px, 0, task.limits.last_px)
    sums = empty_sums(task, state, band)
    weight, operators = _weights(task), to_matrices(task.operators)
    for half in (0, 1):
        (target,) = sums.parts[0][half]
        for chosen, data in task.batches(half, state, band):
            rows = np.flatnonzero(cloud.known[chosen] & (weight[chosen] > 0.0))
            sums.class_mass[0] += len(rows) * round(1.0 / POWER_UNIT)
            if len(rows):
                points = task.device.to_device(cloud[chosen[rows]])
                counts = task.device.to_device(weight[chosen[rows]])
                spectra, power, views = _at_points(data[rows], points, counts)
                backproject(target, spectra, power, views, band, symmetry=operators)
            on_batch(len(chosen))
    return sums.on_host(task.device)


def _at_points(data: ParticleData, cloud: PoseCloud, weight: Any) -> Tuple[Any, Any, Views]:
    """Return spectra, power and views of particles at their equally likely points."""
    xp = namespace_of(data.spectra)
    phase = shift_phases(cloud.shift_px[:, 0], data.band).mean(axis=1)
    ctf = data.ctf(cloud.defocus_factor[:, 0])
    spectra = data.spectra * ctf.mean(axis=1) * phase.conj()
    rotations = cloud.rotations[:, 0]
    step = -(-rotations.shape[1] // MOST_VIEWS)
    rotations = rotations[:, ::step]
    n, n_views = rotations.shape[:2]
    each = xp.repeat(weight / n_views, n_views).astype(xp.float32)
    views = Views(to_matrices(rotations.reshape(-1, 4)), np.repeat(np.arange(n), n_views), each)
    return spectra.astype(xp.complex64), (ctf * ctf).mean(axis=1), views


def _weights(task: Task) -> np.ndarray:
    """Return what this rank's particles count, (n_rows,) float32."""
    frame = task.table.particles
    if labels.WEIGHT not in frame:
        return np.ones(len(task.rows), np.float32)
    return frame[labels.WEIGHT].to_numpy(np.float32)[task.rows]
