# SPDX-License-Identifier: GPL-3.0-or-later
"""From settings and particle ids to images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cryoralib_plugin.contract.simulate import SimulateConfig
from cryoralib_plugin.fourier.masks import circular_mask
from cryoralib_plugin.fourier.transform import backward, forward, radial_frequency
from cryoralib_plugin.optics.ctf import CtfParameters, ctf_2d

from .noise import draw_contamination, draw_noise, draw_ramps, noise_power, variance_in_disk
from .phantom import Phantom, make_phantom
from .project import Poses3D, project
from .truth import CONTAMINATION, PARTICLE, Truth, calibration_truth, calibration_weights

_PIXELS_AT_ONCE = 1 << 20


@dataclass(frozen=True)
class Scene:
    """Everything that all images of a simulation share.

    Attributes
    ----------
    config : settings.
    phantom : the molecule.
    signal_scale : factor of the projections that gives the wanted SNR for noise of unit variance.
    noise_power : (N, N // 2 + 1) float64, unit variance per pixel.
    noise_variance : expected variance of the noise inside the particle's disk.
    """

    config: SimulateConfig
    phantom: Phantom
    signal_scale: float
    noise_power: np.ndarray
    noise_variance: float


def make_scene(config: SimulateConfig) -> Scene:
    """Return the scene of the settings, its signal scaled to the wanted SNR.

    One noise level serves the whole set, as in a microscope; views and defoci of stronger contrast
    have more signal, and the SNR is that of the mean signal over all of them.
    """
    sample = config.object
    phantom = make_phantom(
        sample.random_seed,
        diameter_angst=sample.object_diameter_angst,
        n_domains=sample.n_domains,
        sigma_angst=sample.blob_sigma_angst,
    )
    power = noise_power(sample.box_size_px, sample.pixel_size_angst, config.noise.noise_rise)
    variance = variance_in_disk(power, sample.box_size_px, config.disk_radius_px)
    scene = Scene(config, phantom, 1.0, power, variance)
    truth = calibration_truth(config)
    step = max(1, _PIXELS_AT_ONCE // sample.box_size_px**2)
    parts = [slice(start, start + step) for start in range(0, len(truth), step)]
    variances = [
        disk_variance(render_signal(scene, truth.poses[rows], truth.ctf[rows]), config)
        for rows in parts
    ]
    mean = float(calibration_weights(config, truth) @ np.concatenate(variances))
    return Scene(config, phantom, np.sqrt(config.noise.snr * variance / mean), power, variance)


def render_signal(scene: Scene, poses: Poses3D, ctf: CtfParameters) -> np.ndarray:
    """Return noiseless images after the microscope, (n, N, N) float32, noise deviations."""
    sample, optics = scene.config.object, scene.config.optics
    box, pixel = sample.box_size_px, sample.pixel_size_angst
    images = np.empty((len(poses), box, box), dtype=np.float32)
    squared = (radial_frequency(box) / pixel) ** 2
    envelope = scene.signal_scale * np.exp(-0.25 * optics.bfactor_angst2 * squared)
    step = max(1, _PIXELS_AT_ONCE // box**2)
    for start in range(0, len(poses), step):
        rows = slice(start, start + step)
        spectra = forward(project(scene.phantom, poses[rows], box, pixel))
        spectra *= envelope.astype(np.float32)
        if optics.apply_ctf:
            spectra *= ctf_2d(ctf[rows], box, pixel)
        images[rows] = backward(spectra, box)
    return images


def render_images(scene: Scene, truth: Truth, signal: np.ndarray) -> np.ndarray:
    """Return (n, N, N) float32 images: signal, noise, ramp and junk, times the intensity.

    ``signal`` is that of `render_signal` for the same particles; junk shows none of it.
    """
    config = scene.config
    seed, box = config.object.random_seed, config.object.box_size_px
    images = draw_noise(seed, truth.particle_ids, scene.noise_power)
    images += np.where(truth.kind == PARTICLE, 1.0, 0.0).astype(np.float32)[:, None, None] * signal
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
