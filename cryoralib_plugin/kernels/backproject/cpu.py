# SPDX-License-Identifier: GPL-3.0-or-later
"""CPU twin of the sums of slices; see the package.

The grid is larger than a cache. It is filled slab by slab: a slab is the layers of a range of |z|
that fit the cache of a core, and of every view only the terms that fall into it are visited. No
two threads write to one voxel, and no second grid is needed.
"""

from __future__ import annotations

import numpy as np
from numba import get_num_threads, njit, prange

from cryoralib_plugin.fourier.band import FourierBand
from cryoralib_plugin.kernels.project.cpu import cell_of

from . import SliceSums, Views

_BYTES_PER_VOXEL = 24
_CACHE_BYTES = 2**21
_NO_FRACTION = 1.5 * 2.0**52


def add_slices(
    sums: SliceSums, spectra: np.ndarray, power: np.ndarray, views: Views, band: FourierBand
) -> bool:
    """Add the views to the sums; return whether all values were sound."""
    extent = sums.weight.shape[2] - 1
    sound = np.ones(get_num_threads(), dtype=np.bool_)
    units = np.array([1.0 / sums.data_unit, 1.0 / sums.weight_unit])
    _add_slices(
        sums.data.reshape(-1),
        sums.weight.reshape(-1),
        extent,
        _layers_of_a_slab(extent),
        spectra.view(np.float32),
        power,
        views.rotations,
        views.image,
        views.weight,
        (band.kx * np.float32(sums.padding)).astype(np.float32),
        (band.ky * np.float32(sums.padding)).astype(np.float32),
        _row_starts(band),
        units,
        np.array(sums.largest, dtype=np.float32),
        sound,
    )
    return bool(sound.all())


def _layers_of_a_slab(extent: int) -> int:
    """Return over how many |z| a slab extends: both of its sides together fill the cache."""
    layer = _BYTES_PER_VOXEL * (2 * extent + 1) * (extent + 1)
    return max(1, _CACHE_BYTES // (2 * layer))


def _row_starts(band: FourierBand) -> np.ndarray:
    """Return the first term of every row of a band, and their number at the end; int64."""
    rows = np.flatnonzero(np.diff(band.ky, prepend=band.ky[0] - 1))
    return np.append(rows, band.n_terms).astype(np.int64)


@njit(cache=True, parallel=True)
def _add_slices(
    data, weight, extent, layers, spectra, power, rotations, image, view_weight, kx, ky, rows,
    units, largest, sound,
):  # fmt: skip
    n_threads, n_slabs = sound.shape[0], extent // layers + 1
    for thread in prange(n_threads):
        ok = True
        # Slabs near z = 0 hold more terms: threads take them in turn.
        for slab in range(thread, n_slabs, n_threads):
            first, last = slab * layers, (slab + 1) * layers
            for view in range(rotations.shape[0]):
                here = image[view]
                ok = _add_view(
                    data, weight, extent, first, last, spectra[here], power[here],
                    rotations[view], view_weight[view], kx, ky, rows, units, largest,
                ) and ok  # fmt: skip
        sound[thread] = ok


@njit(cache=True, nogil=True)
def _add_view(
    data, weight, extent, first, last, spectrum, power, rotation, view_weight, kx, ky, rows, units,
    largest,
):  # fmt: skip
    """Add what one view puts into the layers first <= |z| < last; return whether it was sound."""
    sound, one, zero = True, np.float32(1.0), np.float32(0.0)
    low, high = np.float32(first - 1), np.float32(last)
    for row in range(rows.shape[0] - 1):
        start, end = rows[row], rows[row + 1]
        height = rotation[2, 0] * kx[start] + rotation[2, 1] * ky[start]
        rise = rotation[2, 0] * (kx[start + 1] - kx[start]) if end - start > 1 else zero
        begin, stop = _range_between(height, rise, high, end - start, 2)
        # Terms between these lie below the slab, on either side of z = 0.
        gap, resume = _range_between(height, rise, low, end - start, -2)
        for part in range(2):
            from_k = start + (max(begin, resume) if part else begin)
            to_k = start + (stop if part else min(gap, stop))
            for k in range(from_k, to_k):
                column, layer_row, layer, fx, fy, fz, sign, inside = cell_of(
                    rotation, kx[k], ky[k], extent
                )
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
                        at = (layer + up) * (2 * extent + 1) + layer_row + over
                        voxel = np.uintp(at * (extent + 1) + column)
                        for right in range(2):
                            part_here = np.float64(in_plane * (fx if right else one - fx))
                            pair = voxel + voxel
                            data[pair] += _rounded(real_units * part_here)
                            data[pair + np.uintp(1)] += _rounded(imag_units * part_here)
                            weight[voxel] += _rounded(amount_units * part_here)
                            voxel += np.uintp(1)
    return sound


@njit(cache=True, nogil=True)
def _range_between(height, rise, limit, n, spare):
    """Return the range of i in [0, n) with |height + i rise| < limit, wider by some on each side.

    With a negative ``spare`` it is narrower, and empty at n if there is none.
    """
    if limit <= np.float32(0.0):
        return n, n
    if abs(rise) * np.float32(n) < np.float32(1e-3):
        # Level, but for what rounding may add.
        slack = np.float32(1e-2) if spare > 0 else np.float32(-1e-2)
        return (0, n) if abs(height) < limit + slack else (n, n)
    centre, half = -height / rise, abs(limit / rise)
    if centre + half < np.float32(-4.0) or centre - half > np.float32(n + 4):
        return n, n
    begin = max(0, np.int64(np.floor(centre - half)) - spare)
    stop = min(n, np.int64(np.ceil(centre + half)) + 1 + spare)
    return (begin, stop) if begin < stop else (n, n)


@njit(cache=True, nogil=True)
def _rounded(value):
    """Return the nearest integer, of two the even one, for magnitudes below 2^51.

    A sum of that size has no digits after the point; np.rint would be a call.
    """
    return np.int64((value + _NO_FRACTION) - _NO_FRACTION)
