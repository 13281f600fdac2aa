# SPDX-License-Identifier: GPL-3.0-or-later
"""CPU twin of the sums of slices; see the package.

Every thread owns the layers of the grid in a range of |z| and walks through all views, so that no
two threads write to one voxel and no second grid is needed.
"""

from __future__ import annotations

import numpy as np
from numba import get_num_threads, njit, prange

from cryoralib_plugin.fourier.band import FourierBand
from cryoralib_plugin.kernels.project.cpu import cell_of

from . import SliceSums, Views


def add_slices(
    sums: SliceSums, spectra: np.ndarray, power: np.ndarray, views: Views, band: FourierBand
) -> bool:
    """Add the views to the sums; return whether all values were sound."""
    extent = sums.weight.shape[2] - 1
    bounds = _layer_bounds(extent, get_num_threads())
    sound = np.ones(len(bounds) - 1, dtype=np.bool_)
    units = np.array([1.0 / sums.data_unit, 1.0 / sums.weight_unit])
    _add_slices(
        sums.data.reshape(-1),
        sums.weight.reshape(-1),
        extent,
        bounds,
        spectra.view(np.float32),
        power,
        views.rotations,
        views.image,
        views.weight,
        (band.kx * np.float32(sums.padding)).astype(np.float32),
        (band.ky * np.float32(sums.padding)).astype(np.float32),
        units,
        np.array(sums.largest, dtype=np.float32),
        sound,
    )
    return bool(sound.all())


def _layer_bounds(extent: int, n_slabs: int) -> np.ndarray:
    """Return bounds of |z| between which slices of random views put equal work.

    The share of a disk of radius m below |z| = t, over all directions, is (2 m t - t^2) / m^2.
    """
    share = np.linspace(0.0, 1.0, n_slabs + 1)
    bounds = np.rint((extent + 1) * (1.0 - np.sqrt(1.0 - share))).astype(np.int64)
    bounds[-1] = extent + 1
    return np.unique(bounds)


@njit(cache=True, parallel=True)
def _add_slices(
    data,
    weight,
    extent,
    bounds,
    spectra,
    power,
    rotations,
    image,
    view_weight,
    kx,
    ky,
    units,
    largest,
    sound,
):
    for slab in prange(bounds.shape[0] - 1):
        first, last = bounds[slab], bounds[slab + 1]
        slab_is_sound = True
        for view in range(rotations.shape[0]):
            here = image[view]
            if not _add_view(
                data,
                weight,
                extent,
                first,
                last,
                spectra[here],
                power[here],
                rotations[view],
                view_weight[view],
                kx,
                ky,
                units,
                largest,
            ):
                slab_is_sound = False
        sound[slab] = slab_is_sound


@njit(cache=True, nogil=True)
def _add_view(
    data,
    weight,
    extent,
    first,
    last,
    spectrum,
    power,
    rotation,
    view_weight,
    kx,
    ky,
    units,
    largest,
):
    """Add what one view puts into the layers first <= |z| < last; return whether it was sound."""
    sound, one, zero = True, np.float32(1.0), np.float32(0.0)
    below, above = np.float32(first - 1), np.float32(last)
    for k in range(kx.shape[0]):
        height = abs(rotation[2, 0] * kx[k] + rotation[2, 1] * ky[k])
        if height < below or height > above:
            continue
        column, row, layer, fx, fy, fz, sign, inside = cell_of(rotation, kx[k], ky[k], extent)
        # The term k = 0 is its own mate and would count twice.
        share = view_weight * (np.float32(0.5) if kx[k] == zero and ky[k] == zero else one)
        real, imag = spectrum[2 * k] * share, sign * spectrum[2 * k + 1] * share
        amount = power[k] * share
        # A comparison with NaN is false, so this catches it too.
        sound = sound and abs(real) <= largest[0] and abs(imag) <= largest[0]
        sound = sound and abs(amount) <= largest[1]
        if not inside:
            continue
        # In units of the sums from here on, in float64: one rounding for each voxel.
        real_units, imag_units = np.float64(real) * units[0], np.float64(imag) * units[0]
        amount_units = np.float64(amount) * units[1]
        for up in range(2):
            if not first <= abs(layer + up - extent) < last:
                continue
            in_z = fz if up else one - fz
            for over in range(2):
                in_plane = in_z * (fy if over else one - fy)
                at = ((layer + up) * (2 * extent + 1) + row + over) * (extent + 1) + column
                for right in range(2):
                    part = np.float64(in_plane * (fx if right else one - fx))
                    voxel = np.uintp(at + right)
                    pair = voxel + voxel
                    data[pair] += np.int64(np.rint(real_units * part))
                    data[pair + np.uintp(1)] += np.int64(np.rint(imag_units * part))
                    weight[voxel] += np.int64(np.rint(amount_units * part))
    return sound
