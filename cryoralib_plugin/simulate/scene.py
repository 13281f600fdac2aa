# SPDX-License-Identifier: GPL-3.0-or-later
"""From settings and particle ids to images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from cryoralib_plugin.contract.simulate import SimulateConfig
from cryoralib_plugin.fourier.masks import circular_mask
from cryoralib_plugin.fourier.transform import backward, forward, radial_frequency
from cryoralib_plugin.optics.ctf import CtfParameters, ctf_2d

from .map_molecule import MapMolecule
from .noise import draw_contamination, draw_noise, draw_ramps, noise_power, variance_in_disk
from .phantom import make_phantom
from .project import Poses3D, project
from .truth import (
    CONTAMINATION,
    PARTICLE,
    WRONG_MOLECULE,
    Truth,
    calibration_truth,
    calibration_weights,
)

_PIXELS_AT_ONCE = 1 << 20


@dataclass(frozen=True)
class Scene:
    """Everything that all images of a simulation share.

    Attributes
    ----------
    config : settings.
    molecules : Phantom or MapMolecule; a second state follows the first, a wrong one is last.
    signal_scale : factor of the projections that gives the wanted SNR for noise of unit variance.
    noise_power : (N, N // 2 + 1) float64, unit variance per pixel.
    noise_variance : expected variance of the noise inside the particle's disk.
    """

    config: SimulateConfig
    molecules: tuple[Any, ...]
    signal_scale: float
    noise_power: np.ndarray
    noise_variance: float


def make_scene(config: SimulateConfig, maps: tuple[MapMolecule, ...] = ()) -> Scene:
    """Return the scene of the settings, its signal scaled to the wanted SNR.

    One noise level serves the whole set, as in a microscope; views and defoci of stronger contrast
    have more signal, and the SNR is that of the mean signal over all of them.

    Parameters
    ----------
    config : settings.
    maps : those that the settings name, in their order; without any a molecule is made up.
    """
    sample = config.object
    molecules: tuple[Any, ...] = maps or (
        make_phantom(
            sample.random_seed,
            diameter_angst=sample.object_diameter_angst,
            n_domains=sample.n_domains,
            sigma_angst=sample.blob_sigma_angst,
        ),
    )
    power = noise_power(sample.box_size_px, sample.pixel_size_angst, config.noise.noise_rise)
    variance = variance_in_disk(power, sample.box_size_px, config.disk_radius_px)
    scene = Scene(config, molecules, 1.0, power, variance)
    truth = calibration_truth(config)
    mean = _mean_variance(scene, truth, truth.molecule)
    if config.files.wrong_map_file:
        last = len(molecules) - 1
        of_wrong = _mean_variance(scene, truth, np.full(len(truth), last))
        molecules = (*molecules[:last], molecules[last].scaled(np.sqrt(mean / of_wrong)))
    return Scene(config, molecules, np.sqrt(config.noise.snr * variance / mean), power, variance)


def _mean_variance(scene: Scene, truth: Truth, molecule: np.ndarray) -> float:
    """Return the mean variance of the signal in the disk if the images show these molecules."""
    step = max(1, _PIXELS_AT_ONCE // scene.config.object.box_size_px**2)
    variances = []
    for start in range(0, len(truth), step):
        rows = slice(start, start + step)
        signal = render_signal(scene, truth.poses[rows], truth.ctf[rows], molecule[rows])
        variances.append(disk_variance(signal, scene.config))
    return float(calibration_weights(scene.config, truth) @ np.concatenate(variances))


def render_signal(
    scene: Scene, poses: Poses3D, ctf: CtfParameters, molecule: np.ndarray
) -> np.ndarray:
    """Return noiseless images after the microscope, (n, N, N) float32, noise deviations.

    ``molecule`` (n,) says which of the scene's each image shows.
    """
    sample, optics = scene.config.object, scene.config.optics
    box, pixel = sample.box_size_px, sample.pixel_size_angst
    images = np.empty((len(poses), box, box), dtype=np.float32)
    squared = (radial_frequency(box) / pixel) ** 2
    envelope = scene.signal_scale * np.exp(-0.25 * optics.bfactor_angst2 * squared)
    step = max(1, _PIXELS_AT_ONCE // box**2)
    for start in range(0, len(poses), step):
        rows = slice(start, start + step)
        spectra = forward(_project(scene, poses[rows], molecule[rows]))
        spectra *= envelope.astype(np.float32)
        if optics.apply_ctf:
            spectra *= ctf_2d(ctf[rows], box, pixel)
        images[rows] = backward(spectra, box)
    return images


def render_images(scene: Scene, truth: Truth, signal: np.ndarray) -> np.ndarray:
    """Return (n, N, N) float32 images: signal, noise, ramp and junk, times the intensity.

    ``signal`` is that of `render_signal` for the same particles; ice and contamination show none.
    """
    config = scene.config
    seed, box = config.object.random_seed, config.object.box_size_px
    images = draw_noise(seed, truth.particle_ids, scene.noise_power)
    shown = (truth.kind == PARTICLE) | (truth.kind == WRONG_MOLECULE)
    images += shown.astype(np.float32)[:, None, None] * signal
    if config.noise.ramp_max > 0.0:
        images += draw_ramps(truth.ramp, box)
    dirty = truth.kind == CONTAMINATION
    images[dirty] += draw_contamination(seed, truth.particle_ids[dirty], box)
    images *= truth.intensity.astype(np.float32)[:, None, None]
    return images


def disk_variance(images: np.ndarray, config: SimulateConfig) -> np.ndarray:
    """Return the variance of each image inside the central disk, about its mean there, (n,)."""
    inside = circular_mask(config.object.box_size_px, config.disk_radius_px) > 0.0
    return images[:, inside].var(axis=1, dtype=np.float64)


def _project(scene: Scene, poses: Poses3D, molecule: np.ndarray) -> np.ndarray:
    """Return projections (n, N, N) float32 of the molecule that each image shows."""
    sample = scene.config.object
    images = np.empty((len(poses), sample.box_size_px, sample.box_size_px), dtype=np.float32)
    for row in np.unique(molecule):
        of_it = np.flatnonzero(molecule == row)
        images[of_it] = project(
            scene.molecules[row], poses[of_it], sample.box_size_px, sample.pixel_size_angst
        )
    return images
