# SPDX-License-Identifier: GPL-3.0-or-later
"""Coloured noise, density ramps and contamination."""

from __future__ import annotations

import numpy as np

from cryoralib_plugin.fourier.filters import apply_filter
from cryoralib_plugin.fourier.masks import circular_mask
from cryoralib_plugin.fourier.transform import forward, half_plane_weights, radial_frequency
from cryoralib_plugin.kernels.random import normal, uniform

from .draws import Phase

_FALL_OFF_ANGST = 30.0
"""Where measured noise spectra turn from their rise at low frequency to their plateau."""


def noise_power(box_size_px: int, pixel_size_angst: float, rise: float) -> np.ndarray:
    """Return the noise power spectrum, (N, N // 2 + 1) float64, of unit variance per pixel.

    ``P(s) ~ 1 + (rise - 1) / (1 + (30 A s)^4)``.
    """
    s = radial_frequency(box_size_px) / pixel_size_angst
    power = 1.0 + (rise - 1.0) / (1.0 + (_FALL_OFF_ANGST * s) ** 4)
    mean = (power * half_plane_weights(box_size_px)).sum() / box_size_px**2
    return power / mean


def variance_in_disk(power: np.ndarray, box_size_px: int, radius_px: float) -> float:
    """Return the expected variance of noise inside the central disk, about its mean there.

    ``1 - sum_k P(k) |M(k)|^2 / (N n)^2``, M the transform of the disk and n its area: slow noise
    varies less within the disk than over the box.
    """
    mask = circular_mask(box_size_px, radius_px).astype(np.float64)
    of_mean = np.abs(forward(mask)) ** 2 * power * half_plane_weights(box_size_px)
    return float(1.0 - of_mean.sum() / (box_size_px * mask.sum()) ** 2)


def draw_noise(seed: int, particle_ids: np.ndarray, power: np.ndarray) -> np.ndarray:
    """Return (n, N, N) float32 Gaussian noise of the given power spectrum."""
    box = len(power)
    white = normal(seed, 0, Phase.NOISE, particle_ids, box**2).astype(np.float32)
    white = white.reshape(-1, box, box)
    if np.ptp(power) == 0.0:
        return white
    return apply_filter(white, np.sqrt(power).astype(np.float32))


def draw_ramps(ramp: np.ndarray, box_size_px: int) -> np.ndarray:
    """Return (n, N, N) float32 planes that rise by ``ramp`` (n, 2) from the centre to the edge."""
    axis = (np.arange(box_size_px) - box_size_px // 2) / (0.5 * box_size_px)
    planes = ramp[:, 0, None, None] * axis[None, None, :] + ramp[:, 1, None, None] * axis[:, None]
    return planes.astype(np.float32)


def draw_contamination(seed: int, particle_ids: np.ndarray, box_size_px: int) -> np.ndarray:
    """Return (n, N, N) float32 bright smooth blobs anywhere in the box, noise deviations.

    Ice crystals and ethane are several times brighter than the noise and a tenth to a quarter of
    the box wide.
    """
    draws = uniform(seed, 0, Phase.CONTAMINATION, particle_ids, 5)
    centre = (draws[:, :2] - 0.5) * 0.7 * box_size_px
    sigma = (0.05 + 0.08 * draws[:, 2]) * box_size_px
    stretch = 0.6 + 0.4 * draws[:, 3]
    height = 3.0 + 7.0 * draws[:, 4]
    axis = np.arange(box_size_px) - box_size_px // 2
    along_x = np.exp(-0.5 * ((axis - centre[:, :1]) / sigma[:, None]) ** 2)
    along_y = np.exp(-0.5 * ((axis - centre[:, 1:]) / (sigma * stretch)[:, None]) ** 2)
    blobs = height[:, None, None] * along_y[:, :, None] * along_x[:, None, :]
    return blobs.astype(np.float32)
