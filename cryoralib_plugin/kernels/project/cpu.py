# SPDX-License-Identifier: GPL-3.0-or-later
"""CPU twin of the central slices; see the package."""

from __future__ import annotations

from typing import Tuple

import numpy as np
from numba import njit, prange

from cryoralib_plugin.fourier.band import FourierBand
from cryoralib_plugin.fourier.volume import FourierVolume

from ._cpu_rows import four_rows


def project(volume: FourierVolume, rotations: np.ndarray, band: FourierBand) -> np.ndarray:
    """See the package."""
    slices = np.empty((len(rotations), band.n_terms), dtype=np.complex64)
    values, extent, kx, ky = grid_and_places(volume, band)
    _project(values, extent, rotations, kx, ky, slices.view(np.float32))
    return slices


def grid_and_places(
    volume: FourierVolume, band: FourierBand
) -> Tuple[np.ndarray, int, np.ndarray, np.ndarray]:
    """Return the flat float32 grid, its extent, and where the terms of a band lie in it."""
    return (
        np.ascontiguousarray(volume.values).view(np.float32).ravel(),
        volume.values.shape[2] - 1,
        (band.kx * np.float32(volume.padding)).astype(np.float32),
        (band.ky * np.float32(volume.padding)).astype(np.float32),
    )


@njit(cache=True, nogil=True)
def cell_of(rotation, kx, ky, extent):
    """Return the cell of R (kx, ky, 0)^T: corner, fractions, sign of the conjugation, whether in.

    A point of x < 0 is replaced by its mate. Indices count from the corner of the grid.
    """
    x = rotation[0, 0] * kx + rotation[0, 1] * ky
    y = rotation[1, 0] * kx + rotation[1, 1] * ky
    z = rotation[2, 0] * kx + rotation[2, 1] * ky
    sign = np.float32(1.0)
    if x < np.float32(0.0):
        x, y, z, sign = -x, -y, -z, np.float32(-1.0)
    left, low, back = np.floor(x), np.floor(y), np.floor(z)
    column, row, layer = np.int64(left), np.int64(low) + extent, np.int64(back) + extent
    inside = column < extent and 0 <= row < 2 * extent and 0 <= layer < 2 * extent
    return column, row, layer, x - left, y - low, z - back, sign, inside


@njit(cache=True, nogil=True)
def write_slice(values, extent, rotation, kx, ky, out):
    """Write one slice, real and imaginary parts in turn, from a flat float32 grid."""
    width = extent + 1
    line, plane = np.uintp(2 * width), np.uintp(2 * width * (2 * extent + 1))
    one = np.float32(1.0)
    for k in range(kx.shape[0]):
        column, row, layer, fx, fy, fz, sign, inside = cell_of(rotation, kx[k], ky[k], extent)
        if not inside:
            out[2 * k] = out[2 * k + 1] = np.float32(0.0)
            continue
        at = np.uintp(2 * ((layer * (2 * extent + 1) + row) * width + column))
        gx, gy, gz = one - fx, one - fy, one - fz
        left_real, left_imag, right_real, right_imag = four_rows(
            values, at, line, plane, gy * gz, fy * gz, gy * fz, fy * fz
        )
        out[2 * k] = left_real * gx + right_real * fx
        out[2 * k + 1] = sign * (left_imag * gx + right_imag * fx)


@njit(cache=True, parallel=True)
def _project(values, extent, rotations, kx, ky, slices):
    for i in prange(rotations.shape[0]):
        write_slice(values, extent, rotations[i], kx, ky, slices[i])
