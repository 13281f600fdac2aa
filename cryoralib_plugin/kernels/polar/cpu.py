# SPDX-License-Identifier: GPL-3.0-or-later
"""CPU twin of polar resampling; the contract is in the package."""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from cryoralib_plugin.geometry.rings import RingLayout

# Samples worked on together: what is known of them stays in the first-level cache.
_BLOCK = 256


def sample_positions(rings: RingLayout) -> np.ndarray:
    """Return (2, n_samples) float64 x, y of all ring samples relative to the centre, pixels."""
    return np.ascontiguousarray(
        np.concatenate(
            [
                radius * rings.unit_circle(int(length))
                for radius, length in zip(rings.radii_px, rings.lengths)
            ]
        ).T
    )


@njit(cache=True, nogil=True)
def sample_image(image, centre_x, centre_y, positions, out):
    """Fill ``out`` with bilinear values of one image at ``positions`` (2, n) around a centre.

    A block of samples goes in three passes (positions, gathering, interpolation), of which the
    first and the last become vector code.
    """
    height, width = image.shape
    pixels = image.reshape(height * width)
    columns, rows = np.empty(_BLOCK, np.int32), np.empty(_BLOCK, np.int32)
    right, below = np.empty(_BLOCK), np.empty(_BLOCK)
    corners = np.empty((4, _BLOCK), image.dtype)
    here, beside, under, across = corners[0], corners[1], corners[2], corners[3]
    x, y = positions[0], positions[1]
    one, line = np.uintp(1), np.uintp(width)
    for first in range(0, positions.shape[1], _BLOCK):
        block = slice(first, min(first + _BLOCK, positions.shape[1]))
        _along_axis(centre_x, x[block], width, 1, columns, right)
        _along_axis(centre_y, y[block], height, width, rows, below)
        values = out[block]
        for i in range(values.shape[0]):
            # Unsigned indices spare Numba's test for negative ones.
            at = np.uintp(np.uint32(rows[i] + columns[i]))
            here[i], beside[i] = pixels[at], pixels[at + one]
            at += line
            under[i], across[i] = pixels[at], pixels[at + one]
        for i in range(values.shape[0]):
            dx, dy = right[i], below[i]
            top = here[i] * (1.0 - dx) + beside[i] * dx
            bottom = under[i] * (1.0 - dx) + across[i] * dx
            values[i] = top * (1.0 - dy) + bottom * dy


@njit(cache=True, nogil=True)
def _along_axis(centre, offsets, extent, stride, places, shares):
    """Pixels, times ``stride``, along one axis, and how far beyond them the samples lie."""
    last, last_pixel = np.float64(extent - 1), np.int32(extent - 2)
    for i in range(offsets.shape[0]):
        position = min(max(centre + offsets[i], 0.0), last)
        pixel = min(np.int32(position), last_pixel)
        places[i] = pixel * np.int32(stride)
        shares[i] = position - pixel


@njit(cache=True, parallel=True)
def _sample_images(images, shift_px, positions, out):
    centre = images.shape[1] // 2
    for i in prange(images.shape[0]):
        sample_image(images[i], centre - shift_px[i, 0], centre - shift_px[i, 1], positions, out[i])


def resample_polar(images: np.ndarray, shift_px: np.ndarray, rings: RingLayout) -> np.ndarray:
    """See the package."""
    out = np.empty((len(images), rings.n_samples))
    _sample_images(
        np.ascontiguousarray(images), np.asarray(shift_px, np.float64), sample_positions(rings), out
    )
    return out
