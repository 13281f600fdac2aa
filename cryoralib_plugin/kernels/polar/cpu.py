# SPDX-License-Identifier: GPL-3.0-or-later
"""CPU twin of polar resampling; the contract is in the package."""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from cryoralib_plugin.geometry.rings import RingLayout


def sample_positions(rings: RingLayout) -> np.ndarray:
    """Return (n_samples, 2) float64 x, y of all ring samples relative to the centre, pixels."""
    return np.concatenate([
        radius * rings.unit_circle(int(length))
        for radius, length in zip(rings.radii_px, rings.lengths)
    ])


@njit(cache=True, nogil=True)
def sample_image(image, centre_x, centre_y, positions, out):
    """Fill ``out`` with bilinear values of one image at ``positions`` around a centre."""
    last_row, last_column = image.shape[0] - 1, image.shape[1] - 1
    for i in range(positions.shape[0]):
        x = min(max(centre_x + positions[i, 0], 0.0), float(last_column))
        y = min(max(centre_y + positions[i, 1], 0.0), float(last_row))
        column, row = min(int(x), last_column - 1), min(int(y), last_row - 1)
        dx, dy = x - column, y - row
        top = image[row, column] * (1.0 - dx) + image[row, column + 1] * dx
        bottom = image[row + 1, column] * (1.0 - dx) + image[row + 1, column + 1] * dx
        out[i] = top * (1.0 - dy) + bottom * dy


@njit(cache=True, parallel=True)
def _sample_images(images, shift_px, positions, out):
    centre = images.shape[1] // 2
    for i in prange(images.shape[0]):
        sample_image(
            images[i], centre - shift_px[i, 0], centre - shift_px[i, 1], positions, out[i]
        )


def resample_polar(images: np.ndarray, shift_px: np.ndarray, rings: RingLayout) -> np.ndarray:
    """See the package."""
    out = np.empty((len(images), rings.n_samples))
    _sample_images(
        np.ascontiguousarray(images), np.asarray(shift_px, np.float64), sample_positions(rings), out
    )
    return out
