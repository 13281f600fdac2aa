# SPDX-License-Identifier: GPL-3.0-or-later
"""What a refinement begins with: maps of low resolution, on the scale of the particles, and noise.

All copies of the initial map are one map for both halves: up to its resolution they agree by
construction, beyond it there is nothing in them.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Optional

import numpy as np

from cryoralib_plugin.fourier.masks3d import distance_map
from cryoralib_plugin.fourier.shells import filter_shells

from .ab_initio import ab_initio_map
from .classes import faint_contrast, told_apart
from .image_power import (
    ImagePower,
    background_power,
    initial_noise_power,
    projected_information,
    projected_power,
    summed_image_power,
)
from .masking import sphere_of_particle
from .reconstruct_known import maps_of_poses
from .state import GLOBAL, Refine3DState
from .task import Task

logger = logging.getLogger(__name__)

_LEAST_SIGNAL = 0.01
"""Share of the power of images that is signal at least, where the scale of a map is fitted."""

_STEEPEST = 4.0
"""Most that the finest shells of an initial map are raised, relative to its coarsest."""

_FAINT = 1e-4
"""Power of a shell, relative to the strongest, below which a map has nothing to be raised."""

_BELIEVED = 0.8
"""Share of the power of a given map that it is believed to explain: so much less is noise."""


@dataclass(frozen=True)
class StartMaps:
    """Maps from files, in the box and the pixels of the particles.

    Attributes
    ----------
    reference : (N, N, N) float32, the initial map, or None where the particles are to make it.
    mask : (N, N, N) float32 between 0 and 1, or None.
    """

    reference: Optional[np.ndarray] = None
    mask: Optional[np.ndarray] = None


def initial_state(task: Task, maps: StartMaps) -> Refine3DState:
    """Return the model before the first round. Every rank must call this.

    With more than one class the copies of the map are told apart by a smooth random density
    (`classes.told_apart`). A random division of the particles would do the same with noise of the
    division in place of a density, but would need a round of its own.

    Parameters
    ----------
    task : particles of this rank, sizes and parameters.
    maps : the given map and mask.
    """
    sums = task.comm.sum(summed_image_power(task))
    noise = initial_noise_power(sums)
    if maps.reference is not None:
        volume = prepared_map(task, maps.reference, maps.mask)
        if not task.config.reference.reference_scale_known:
            volume = scaled_map(task, volume, maps.mask, sums)
        explained = _BELIEVED * projected_power(task, volume)
        # What all particles share has been taken off already: the background is noise for sure.
        level = background_power(task, sums.total_power().mean(axis=0))
        noise = np.maximum(noise - explained, np.minimum(noise, level))
    elif task.config.reference.start_from_poses:
        _, made = maps_of_poses(_in_one_class(task), noise, mask=maps.mask)
        volume = prepared_map(task, made.merged[0], maps.mask)
    else:
        volume = ab_initio_map(task, sums)
    return state_of_map(task, volume, noise)


def state_of_map(task: Task, volume: np.ndarray, noise_power: np.ndarray) -> Refine3DState:
    """Return the model whose references are all one map (N, N, N), told apart by class."""
    n_classes, box = task.n_classes, task.box_size_px
    key = (task.config.compute.random_seed, 0)
    copies = [volume.astype(np.float32)]
    if n_classes > 1:
        information = projected_information(task, volume, noise_power)
        contrast = faint_contrast(information)
        copies = [
            told_apart(volume, k, key=key, operators=task.operators, contrast=contrast)
            for k in range(n_classes)
        ]
    return Refine3DState(
        iteration=0,
        stage=GLOBAL,
        cutoff_px=task.limits.first_px,
        references=np.stack([np.stack([one, one]) for one in copies]),
        noise_power=noise_power,
        class_shares=np.full(n_classes, 1.0 / n_classes),
        fsc=np.zeros((n_classes, box // 2 + 1)),
    )


def prepared_map(task: Task, volume: np.ndarray, mask: Optional[np.ndarray]) -> np.ndarray:
    """Return a map (N, N, N) float32 without what the first round does not compare, solvent 0.

    Shells of the first round are kept as they are; two shells after them the map ends.
    """
    box = task.box_size_px
    solvent = distance_map(box) > task.diameter_angst / task.pixel_size_angst / 2
    level = np.median(volume[solvent]) if solvent.any() else 0.0
    smooth = filter_shells(volume.astype(np.float64) - level, _passed(task, np.ones(box // 2 + 1)))
    return _flattened(task, smooth, mask)


def scaled_map(
    task: Task, volume: np.ndarray, mask: Optional[np.ndarray], sums: ImagePower
) -> np.ndarray:
    """Return a prepared map (N, N, N) float32 with the amplitudes that particles show.

    The factors of its shells are those of :func:`fitted_factors`.
    """
    factors = fitted_factors(task, projected_power(task, volume), sums)
    first = task.limits.first_px - 1
    logger.info(
        "the initial map is multiplied by %.4g at its coarsest detail, %.4g at its finest",
        factors[1], factors[first],
    )  # fmt: skip
    raised = filter_shells(volume.astype(np.float64), _passed(task, factors))
    return _flattened(task, raised, mask)


def fitted_factors(task: Task, projected: np.ndarray, sums: ImagePower) -> np.ndarray:
    """Return what each shell of a map is multiplied by to have the power of particles.

    ``f^2 = (|X|^2 - 2 sigma^2) / |C A|^2`` by shell, with A the projections of the map at rotations
    of an even grid and C the CTFs of particles spread over the whole set. sigma^2 is that of white
    noise of unit variance where the background is normalised, else the power of the highest
    shells; one hundredth of the power is signal at least. Factors never fall towards finer detail
    and rise to four times that of the coarsest at most: initial maps fade, and the power of ice at
    the coarsest shells is not the molecule's.

    Parameters
    ----------
    projected : (N // 2 + 1,) float64, of :func:`projected_power`.
    sums : of the images of all ranks.

    Returns
    -------
    (N // 2 + 1,) float64; beyond the first round's shells that of the last of them.
    """
    limits, shells = task.limits, np.arange(len(projected))
    total = sums.total_power().mean(axis=0)
    signal = np.maximum(total - background_power(task, total), _LEAST_SIGNAL * total)
    used = (shells >= limits.lowest_px) & (shells < limits.first_px)
    if not (projected[used] > 0.0).any():
        raise ValueError(
            "the initial map has no contrast between lowest_resolution_angst and "
            "initial_resolution_angst: is it empty, or is initial_resolution_angst too coarse?"
        )
    seen = used & (projected > _FAINT * projected[used].max())
    ratio = np.where(seen, signal / np.where(seen, projected, 1.0), np.inf)
    rising = np.sqrt(np.minimum.accumulate(ratio[::-1])[::-1])
    lowest = rising[: limits.first_px].min()
    return np.minimum(rising, _STEEPEST * lowest)


def _in_one_class(task: Task) -> Task:
    """Return the same particles in one class: poses are those of a map they share."""
    reference = replace(task.config.reference, n_classes=1)
    return replace(task, config=replace(task.config, reference=reference))


def _flattened(task: Task, volume: np.ndarray, mask: Optional[np.ndarray]) -> np.ndarray:
    config = task.config
    if config.mask.flatten_solvent:
        diameter_px = task.diameter_angst / task.pixel_size_angst
        sphere = sphere_of_particle(config.mask, task.box_size_px, diameter_px)
        volume = volume * (sphere if mask is None else mask)
    return volume.astype(np.float32)


def _passed(task: Task, factors: np.ndarray) -> np.ndarray:
    """Return factors of shells that end two shells after those of the first round."""
    beyond = np.arange(len(factors)) - (task.limits.first_px - 1)
    return np.where(beyond > 0, np.where(beyond == 1, 0.5, 0.0), 1.0) * factors
