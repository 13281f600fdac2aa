# SPDX-License-Identifier: GPL-3.0-or-later
"""What a refinement begins with: maps of low resolution, on the scale of the particles, and noise.

All copies of the initial map are one map for both halves: up to its resolution they agree by
construction, beyond it there is nothing in them.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, Optional

import numpy as np

from cryoralib_plugin.contract._param import ConfigError
from cryoralib_plugin.fourier.band import FourierBand
from cryoralib_plugin.fourier.masks3d import distance_map
from cryoralib_plugin.fourier.shells import lowpass_volume
from cryoralib_plugin.fourier.volume import fourier_volume
from cryoralib_plugin.geometry.rotations import to_matrices
from cryoralib_plugin.geometry.so3_grid import super_fibonacci
from cryoralib_plugin.kernels.project import project
from cryoralib_plugin.optics.ctf import ctf_in_band

from .classes import told_apart
from .image_power import ImagePower, initial_noise_power, summed_image_power
from .masking import mask_of_stage
from .reconstruct_known import maps_of_poses
from .state import GLOBAL, Refine3DState
from .task import Task

logger = logging.getLogger(__name__)

_SAMPLE = 200
"""Rotations and particles that tell the mean power of projections."""

_LEAST_SIGNAL = 0.01
"""Share of the power of images that is signal at least, where the scale of a map is fitted."""


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
            volume = volume * np.float32(fitted_scale(task, volume, sums))
    elif task.config.reference.start_from_poses:
        _, made = maps_of_poses(task, noise, mask=maps.mask)
        volume = prepared_map(task, made.merged.mean(axis=0), maps.mask)
    else:
        raise ConfigError(
            "there is no initial map and no poses to make one of: give reference_file, or switch "
            "start_from_poses on"
        )
    return state_of_map(task, volume, noise)


def state_of_map(task: Task, volume: np.ndarray, noise_power: np.ndarray) -> Refine3DState:
    """Return the model whose references are all one map (N, N, N), told apart by class."""
    n_classes, box = task.n_classes, task.box_size_px
    key = (task.config.compute.random_seed, 0)
    copies = [volume.astype(np.float32)]
    if n_classes > 1:
        copies = [
            told_apart(volume, k, key=key, operators=task.operators) for k in range(n_classes)
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
    """Return a map (N, N, N) float32 filtered to the initial resolution, its solvent flat and 0."""
    config, pixel_size = task.config, task.pixel_size_angst
    diameter_px = task.diameter_angst / pixel_size
    solvent = distance_map(len(volume)) > diameter_px / 2
    level = np.median(volume[solvent]) if solvent.any() else 0.0
    resolution = config.reference.initial_resolution_angst
    smooth = lowpass_volume(volume.astype(np.float64) - level, pixel_size, resolution)
    if config.mask.flatten_solvent:
        smooth = smooth * mask_of_stage(
            smooth,
            config.mask,
            stage=GLOBAL,
            diameter_px=diameter_px,
            pixel_size_angst=pixel_size,
            given=mask,
        )
    return smooth.astype(np.float32)


def fitted_scale(task: Task, volume: np.ndarray, sums: ImagePower) -> float:
    """Return what a map is multiplied by to have the power that particles show.

    ``s^2 = sum (|X|^2 - 2 sigma^2) / sum |C A|^2``, with A the projections of the map at rotations
    of an even grid and C the CTFs of particles spread over the whole set. sigma^2 is that of white
    noise of unit variance where the background is normalised, else the power of the highest
    shells. Sums go from the first shell that is compared up to any other one, and the lowest ratio
    counts: initial maps fade towards their resolution, which must not make the rest of them
    stronger. If nothing stands out of the noise, one hundredth of the power is taken for signal.

    Parameters
    ----------
    volume : (N, N, N) float32.
    sums : of the images of all ranks.
    """
    box, limits = task.box_size_px, task.limits
    band = FourierBand.between(box, limits.lowest_px, limits.first_px)
    shells = np.arange(box // 2 + 1)
    total = sums.total_power().mean(axis=0)
    if task.config.preprocess.normalise_background:
        level = 0.5 * box**2
    else:
        level = total[shells >= 3 * box // 8].mean()
    terms = np.bincount(band.shell, minlength=len(shells))
    power = np.cumsum(terms * total)
    signal = np.maximum(power - level * np.cumsum(terms), _LEAST_SIGNAL * power)
    expected = np.cumsum(terms * _projected_power(task, volume, band))
    seen = expected > 0.0
    if not seen.any():
        raise ValueError(
            "the initial map has no contrast between lowest_resolution_angst and "
            "initial_resolution_angst: is it empty, or is initial_resolution_angst too coarse?"
        )
    scale = float(np.sqrt((signal[seen] / expected[seen]).min()))
    logger.info("grey values of the initial map are multiplied by %.4g", scale)
    return scale


def _projected_power(task: Task, volume: np.ndarray, band: FourierBand) -> Any:
    """Return the mean of ``1/2 |C A|^2`` by shell, (N // 2 + 1,) float64."""
    n_shells = task.box_size_px // 2 + 1
    counts = np.maximum(np.bincount(band.shell, minlength=n_shells), 1)
    padding = task.config.reconstruction.padding_factor
    spectrum = fourier_volume(volume, max_radius_px=band.highest_px, padding=padding)
    slices = project(spectrum, to_matrices(super_fibonacci(_SAMPLE)), band)
    slice_power = np.bincount(
        band.shell, (np.abs(slices.astype(np.complex128)) ** 2).mean(axis=0), minlength=n_shells
    )
    rows = np.unique(np.linspace(0, len(task.table) - 1, _SAMPLE).astype(np.int64))
    ctf = ctf_in_band(task.table.ctf(rows), band, task.pixel_size_angst).astype(np.float64)
    ctf_power = np.bincount(band.shell, (ctf**2).mean(axis=0), minlength=n_shells)
    return 0.5 * slice_power / counts * ctf_power / counts
