# SPDX-License-Identifier: GPL-3.0-or-later
"""CPU twin of the central slices; see the package."""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from cryoralib_plugin.fourier.band import FourierBand
from cryoralib_plugin.fourier.volume import FourierVolume


def project(volume: FourierVolume, rotations: np.ndarray, band: FourierBand) -> np.ndarray:
    """See the package."""
    slices = np.empty((len(rotations), band.n_terms), dtype=np.complex64)
    _project(
        np.ascontiguousarray(volume.values).view(np.float32).ravel(),
        volume.values.shape[2] - 1,
        rotations,
        (band.kx * np.float32(volume.padding)).astype(np.float32),
        (band.ky * np.float32(volume.padding)).astype(np.float32),
        slices.view(np.float32),
    )
    return slices


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


@njit(cache=True, parallel=True)
def _project(values, extent, rotations, kx, ky, slices):
    width = extent + 1
    line, plane = np.uintp(2 * width), np.uintp(2 * width * (2 * extent + 1))
    one = np.float32(1.0)
    for i in prange(rotations.shape[0]):
        rotation, out = rotations[i], slices[i]
        for k in range(kx.shape[0]):
            column, row, layer, fx, fy, fz, sign, inside = cell_of(rotation, kx[k], ky[k], extent)
            if not inside:
                out[2 * k] = out[2 * k + 1] = np.float32(0.0)
                continue
            at = np.uintp(2 * ((layer * (2 * extent + 1) + row) * width + column))
            gx, gy, gz = one - fx, one - fy, one - fz
            real_00, imag_00 = _between(values, at, gx, fx)
            real_01, imag_01 = _between(values, at + line, gx, fx)
            real_10, imag_10 = _between(values, at + plane, gx, fx)
            real_11, imag_11 = _between(values, at + plane + line, gx, fx)
            real = (real_00 * gy + real_01 * fy) * gz + (real_10 * gy + real_11 * fy) * fz
            imag = (imag_00 * gy + imag_01 * fy) * gz + (imag_10 * gy + imag_11 * fy) * fz
            out[2 * k] = real
            out[2 * k + 1] = sign * imag


@njit(cache=True, nogil=True)
def _between(values, at, gx, fx):
    """Return the value between two neighbours along x."""
    real = values[at] * gx + values[at + np.uintp(2)] * fx
    imag = values[at + np.uintp(1)] * gx + values[at + np.uintp(3)] * fx
    return real, imag
