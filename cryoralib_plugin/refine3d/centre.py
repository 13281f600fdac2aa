# SPDX-License-Identifier: GPL-3.0-or-later
"""Maps moved so that their mass lies at the centre of the box, as far as their symmetry lets it."""

from __future__ import annotations

from typing import Tuple

import numpy as np

from cryoralib_plugin.contract.symmetry import parse_symmetry
from cryoralib_plugin.fourier.maps import backward_centred, forward_centred


def moved_to_centre(
    maps: Tuple[np.ndarray, ...], mask: np.ndarray, symmetry: str
) -> Tuple[np.ndarray, ...]:
    """Return maps (..., N, N, N) float32, all moved by what centres the second of them.

    Its positive density within the mask is brought to voxel N // 2: all of it where there is no
    symmetry, its height along the axis for Cn; other groups fix the centre. Shifts of particles
    are found again by the next search.

    Parameters
    ----------
    maps : half maps (2, N, N, N), merged map (N, N, N) and further ones.
    mask : (N, N, N) float32.
    symmetry : point group.
    """
    shift = -centre_of_mass_px(maps[1], mask)
    family, number = parse_symmetry(symmetry)
    if family != "C":
        return maps
    if number > 1:
        shift[1:] = 0.0
    return tuple(moved(one, shift) for one in maps)


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
