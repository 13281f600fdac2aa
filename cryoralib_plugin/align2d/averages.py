# SPDX-License-Identifier: GPL-3.0-or-later
"""From sums over members to class averages that can serve as references."""

from __future__ import annotations

from typing import Iterator, Tuple

import numpy as np

from cryoralib_plugin.fourier.filters import fit_tanh, tanh_profile
from cryoralib_plugin.fourier.frc import frc
from cryoralib_plugin.fourier.transform import backward, forward, radial_frequency
from cryoralib_plugin.kernels.class_sums import ClassSums

# SPARX ref_ali2d keeps the cutoff within these bounds, cycles per pixel, and the falloff below.
SPARX_CUTOFF = (0.12, 0.40)
SPARX_FALLOFF = 0.2

# Pixels of the averages that are worked on together. Spectra and double precision take a dozen
# times the room of an average: that many only for a few classes at a time.
BLOCK_PIXELS = 2**19


def class_blocks(n_classes: int, box_size_px: int) -> Iterator[slice]:
    """Yield all classes, a few at a time."""
    step = max(1, BLOCK_PIXELS // box_size_px**2)
    for first in range(0, n_classes, step):
        yield slice(first, min(first + step, n_classes))


def wiener_halves(sums: ClassSums, snr: float) -> Tuple[np.ndarray, np.ndarray]:
    """Return half averages and averages of particles multiplied by their CTF.

    ``average = sum CTF X / (sum CTF^2 + 1 / SNR)`` in Fourier space (SPARX mref_ali2d with CTF),
    the sums over one half or over both.

    Returns
    -------
    halves : (n_classes, 2, N, N) float32.
    averages : (n_classes, N, N) float32.
    """
    box = sums.images.shape[-1]
    spectra = forward(sums.image_sums())
    power = sums.ctf_power_sums()
    halves = backward(spectra / (power + 1.0 / snr), box)
    both = backward(spectra.sum(axis=1) / (power.sum(axis=1) + 1.0 / snr), box)
    return halves.astype(np.float32), both.astype(np.float32)


def half_and_full_averages(sums: ClassSums, snr: float) -> Tuple[np.ndarray, np.ndarray]:
    """Return half averages (n_classes, 2, N, N) and averages (n_classes, N, N), float32."""
    n_classes, _, box, _ = sums.images.shape
    halves = np.empty(sums.images.shape, np.float32)
    averages = np.empty((n_classes, box, box), np.float32)
    for block in class_blocks(n_classes, box):
        part = ClassSums(sums.images[block], sums.counts[block], sums.ctf_power[block])
        if sums.has_ctf:
            halves[block], averages[block] = wiener_halves(part, snr)
        else:
            halves[block], averages[block] = part.half_averages(), part.averages()
    return halves, averages


def class_frc(halves: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return (n_classes, N // 2 + 1) float64 correlation of the halves inside a soft mask.

    The mean inside the mask is removed first, so that the edge of the mask adds no correlation
    (SPARX ``fsc_mask``).
    """
    weight = mask / mask.sum()
    curves = np.empty((len(halves), mask.shape[0] // 2 + 1))
    for block in class_blocks(len(halves), mask.shape[0]):
        here = halves[block]
        centred = (here - (here * weight).sum(axis=(-2, -1), keepdims=True)) * mask
        curves[block] = frc(centred[:, 0], centred[:, 1])[0]
    return curves


def filter_profiles(curves: np.ndarray, sizes: np.ndarray, kind: str) -> np.ndarray:
    """Return the filter of each class at each ring, (n_classes, n_rings) float64.

    Parameters
    ----------
    curves : (n_classes, n_rings) float64, FRC between the halves.
    sizes : (n_classes,) integers, members.
    kind : "class_wiener", "class_tanh", "mean_tanh" or "none": see the parameter
        ``average_filter``.
    """
    if kind == "none":
        return np.ones_like(curves)
    if kind == "class_wiener":
        return np.stack([wiener_profile(curve) for curve in curves])
    if kind == "class_tanh":
        return np.stack([sparx_tanh_profile(curve) for curve in curves])
    alive = sizes >= 4
    mean = curves[alive].mean(axis=0) if alive.any() else np.zeros(curves.shape[1])
    return np.tile(sparx_tanh_profile(mean), (len(curves), 1))


def sparx_tanh_profile(curve: np.ndarray) -> np.ndarray:
    """Return the tanh low-pass SPARX fits to a curve, within SPARX's bounds."""
    cutoff, falloff = fit_tanh(curve)
    cutoff = float(np.clip(cutoff, *SPARX_CUTOFF))
    frequency = np.linspace(0.0, 0.5, len(curve))
    return tanh_profile(frequency, cutoff, min(falloff, SPARX_FALLOFF))


def wiener_profile(curve: np.ndarray) -> np.ndarray:
    """Return sqrt(2 FRC / (1 + FRC)) of a curve smoothed over three rings; it never rises.

    2 FRC / (1 + FRC) is the correlation of the full average with its noiseless self, squared
    (Rosenthal & Henderson 2003, C_ref), from halves. A curve that rises again after falling is
    noise, so the filter never rises. Halves of few members may not correlate at all; the average
    is then low-passed as SPARX does at worst, because nothing can be aligned to a blank one.
    """
    padded = np.concatenate([curve[1:2], curve[1:], curve[-1:]])
    smooth = (padded[:-2] + padded[1:-1] + padded[2:]) / 3.0
    falling = np.minimum.accumulate(np.clip(smooth, 0.0, 1.0))
    if falling[0] == 0.0:
        return sparx_tanh_profile(curve)
    profile = np.concatenate([[1.0], np.sqrt(2.0 * falling / (1.0 + falling))])
    return profile[: len(curve)]


def filtered(averages: np.ndarray, profiles: np.ndarray) -> np.ndarray:
    """Return averages (n_classes, N, N) filtered by ring profiles (n_classes, n_rings), float32.

    The profile is interpolated between rings; corners beyond the last ring take its value.
    """
    box = averages.shape[-1]
    rings = np.minimum(radial_frequency(box) * box, profiles.shape[1] - 1)
    low = np.minimum(rings.astype(np.int64), profiles.shape[1] - 2)
    share = rings - low
    response = profiles[:, low] * (1.0 - share) + profiles[:, low + 1] * share
    return backward(forward(averages) * response, box).astype(np.float32)
