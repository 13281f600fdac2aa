# SPDX-License-Identifier: GPL-3.0-or-later
"""The noise of particles: its power by half, group and shell."""

from __future__ import annotations

import numpy as np

from .sums import POWER_UNIT, NoiseSums

FEWEST_PARTICLES = 20
"""Smaller groups share the noise of their half: a spectrum of their own would be noise itself."""

_LOWEST_RELATIVE_POWER = 1e-3
"""Least noise power, relative to the median over the shells of a half."""


def updated_noise_power(noise_power: np.ndarray, sums: NoiseSums) -> np.ndarray:
    """Return the noise power after a round, (2, n_groups, N // 2 + 1) float64.

    Parameters
    ----------
    noise_power : the one the round began with, which the sums are relative to.
    sums : residual powers of all particles. Shells that the round did not reach keep theirs.
    """
    counts = np.maximum(sums.counts, 1)[..., None]
    power = noise_power * np.where(sums.power > 0, sums.power * POWER_UNIT / counts, 1.0)
    whole = np.maximum(sums.counts.sum(axis=1), 1)[:, None]
    means = (power * sums.counts[..., None]).sum(axis=1) / whole
    empty = sums.counts.sum(axis=1) == 0
    means[empty] = noise_power[empty].mean(axis=1)
    return settled(power, means, sums.counts)


def settled(power: np.ndarray, means: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return powers of groups with the half's mean where a group is small, none near 0."""
    small, means = counts[..., None] < FEWEST_PARTICLES, _without_gaps(means)
    power = np.where(small | ~(power > 0.0), means[:, None], power)
    lowest = _LOWEST_RELATIVE_POWER * np.median(means, axis=1)
    return np.maximum(power, lowest[:, None, None])


def _without_gaps(means: np.ndarray) -> np.ndarray:
    """Return spectra (2, n_shells) whose empty shells have the power of the nearest full one."""
    filled = np.empty_like(means)
    shells = np.arange(means.shape[1])
    for half, spectrum in enumerate(means):
        full = np.flatnonzero(spectrum > 0.0)
        if not full.size:
            raise ValueError(
                f"the images of half {half + 1} have no power at all: are they empty, or is there "
                "no particle in this half?"
            )
        filled[half] = np.interp(shells, shells[full], spectrum[full])
    return filled
