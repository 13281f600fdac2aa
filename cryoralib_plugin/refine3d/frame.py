# SPDX-License-Identifier: GPL-3.0-or-later
"""Where maps lie in their box: kept there from round to round, or brought to its centre."""

from __future__ import annotations

from typing import Tuple

import numpy as np
from scipy.optimize import minimize

from cryoralib_plugin.contract.symmetry import parse_symmetry
from cryoralib_plugin.fourier.maps import backward_centred, forward_centred
from cryoralib_plugin.fourier.shells import shell_radius
from cryoralib_plugin.fourier.transform import half_plane_weights

_FARTHEST_PX = 3.0
"""Maps farther apart than this have not drifted: they are different."""


def free_shift(shift_px: np.ndarray, symmetry: str) -> np.ndarray:
    """Return the part of a shift (3,), z, y, x, that a symmetry leaves free.

    All of it where there is no symmetry, that along the axis for Cn, nothing for other groups.
    """
    family, number = parse_symmetry(symmetry)
    if family != "C":
        return np.zeros(3)
    return shift_px * np.array([1.0, 0.0, 0.0]) if number > 1 else shift_px


def drift_px(volume: np.ndarray, before: np.ndarray, highest_px: int) -> np.ndarray:
    """Return how far the content of a map has moved from where it was, (3,) float64: z, y, x.

    The shift d for which ``sum Re F(k) conj G(k) exp(2 pi i k d / N)`` is largest. Particles that
    are taken for other views are moved so that their mass comes where that of the map is, less
    what the prior of shifts takes off: a molecule beside the centre drifts towards it.

    Parameters
    ----------
    volume, before : (N, N, N) float.
    highest_px : exclusive radius up to which terms count, Fourier px.
    """
    box = len(volume)
    radius = shell_radius(box)
    used = (radius > 0.0) & (radius < highest_px)
    product = forward_centred(volume) * forward_centred(before).conj()
    weighted = (product * half_plane_weights(box))[used].astype(np.complex128)
    scale = np.abs(weighted).sum()
    if not scale > 0.0:
        return np.zeros(3)
    k = np.fft.fftfreq(box)
    axes = np.broadcast_arrays(k[:, None, None], k[:, None], np.arange(box // 2 + 1) / box)
    turns = 2.0 * np.pi * np.stack([axis[used] for axis in axes])

    def misfit(shift: np.ndarray) -> Tuple[float, np.ndarray]:
        terms = weighted * np.exp(1j * (shift @ turns))
        return -float(terms.real.sum()) / scale, turns @ terms.imag / scale

    bounds = [(-_FARTHEST_PX, _FARTHEST_PX)] * 3
    return minimize(misfit, np.zeros(3), jac=True, method="L-BFGS-B", bounds=bounds).x


def centre_of_mass_px(volume: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return the centre of the positive density in a mask, (3,) float64: z, y, x from N // 2."""
    density = np.maximum(volume, 0.0).astype(np.float64) * mask
    total = density.sum()
    if not total > 0.0:
        return np.zeros(3)
    axis = np.arange(len(volume)) - len(volume) // 2
    sums = (density.sum(axis=(1, 2)), density.sum(axis=(0, 2)), density.sum(axis=(0, 1)))
    return np.array([(one * axis).sum() / total for one in sums])


def moved(volumes: np.ndarray, shift_px: np.ndarray) -> np.ndarray:
    """Return maps (..., N, N, N) float32 whose content has moved by (3,) z, y, x, periodic."""
    box = volumes.shape[-1]
    k = np.fft.fftfreq(box)
    k_x = np.arange(box // 2 + 1) / box
    turns = shift_px[0] * k[:, None, None] + shift_px[1] * k[:, None] + shift_px[2] * k_x
    spectra = forward_centred(volumes) * np.exp(-2j * np.pi * turns)
    return backward_centred(spectra, box).astype(np.float32)
