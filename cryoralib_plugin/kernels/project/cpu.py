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
def scratch_of(n_terms):
    """Return room for the places of one slice: cells, and six floats for each."""
    return np.empty((2, n_terms), np.int32), np.empty((6, n_terms), np.float32)


@njit(cache=True, nogil=True)
def write_slice(values, extent, rotation, kx, ky, scratch, out):
    """Write one slice, real and imaginary parts in turn, from a flat float32 grid.

    All places first, which the compiler turns into vectors, and then what lies there.
    """
    cells, floats = scratch
    _write_places(rotation, kx, ky, extent, cells[0], cells[1], floats)
    width, one = extent + 1, np.float32(1.0)
    line, plane = np.uintp(2 * width), np.uintp(2 * width * (2 * extent + 1))
    for k in range(kx.shape[0]):
        at = np.uintp(2 * (np.int64(cells[0, k]) * width + cells[1, k]))
        fx, sign = floats[4, k], floats[5, k]
        gx = one - fx
        left_real, left_imag, right_real, right_imag = four_rows(
            values, at, line, plane, floats[0, k], floats[1, k], floats[2, k], floats[3, k]
        )
        out[2 * k] = abs(sign) * (left_real * gx + right_real * fx)
        out[2 * k + 1] = sign * (left_imag * gx + right_imag * fx)


@njit(cache=True, nogil=True)
def _write_places(rotation, kx, ky, extent, line, column, floats):
    """Write lines (layer and row) and columns of cells, the weights of their four rows, the
    fraction along a row and the sign of the conjugation; 0 outside the grid. As `cell_of`."""
    r_00, r_01, r_10 = rotation[0, 0], rotation[0, 1], rotation[1, 0]
    r_11, r_20, r_21 = rotation[1, 1], rotation[2, 0], rotation[2, 1]
    one, zero, half = np.float32(1.0), np.float32(0.0), np.int32(extent)
    full = np.int32(2 * extent)
    for k in range(kx.shape[0]):
        x, y = r_00 * kx[k] + r_01 * ky[k], r_10 * kx[k] + r_11 * ky[k]
        z = r_20 * kx[k] + r_21 * ky[k]
        sign = -one if x < zero else one
        x, y, z = sign * x, sign * y, sign * z
        left, low, back = np.floor(x), np.floor(y), np.floor(z)
        at_x, at_y = np.int32(left), np.int32(low) + half
        at_z = np.int32(back) + half
        inside = (at_x < half) & (at_y >= 0) & (at_y < full) & (at_z >= 0) & (at_z < full)
        line[k] = at_z * (full + np.int32(1)) + at_y if inside else np.int32(0)
        column[k] = at_x if inside else np.int32(0)
        fy, fz = y - low, z - back
        gy, gz = one - fy, one - fz
        floats[0, k], floats[1, k] = gy * gz, fy * gz
        floats[2, k], floats[3, k] = gy * fz, fy * fz
        floats[4, k], floats[5, k] = x - left, sign if inside else zero


@njit(cache=True, parallel=True)
def _project(values, extent, rotations, kx, ky, slices):
    for i in prange(rotations.shape[0]):
        scratch = scratch_of(kx.shape[0])
        write_slice(values, extent, rotations[i], kx, ky, scratch, slices[i])
