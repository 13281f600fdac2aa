# SPDX-License-Identifier: GPL-3.0-or-later
"""CPU twin of the class sums; see the package.

Every thread owns a band of rows of all sums and walks through all members, so that no two threads
write to one pixel and no scratch of image size is needed.
"""

from __future__ import annotations

import numpy as np
from numba import get_num_threads, njit, prange

from cryoralib_plugin.kernels.transform2d.cpu import flat_pixels, transform_row

from . import CTF_UNIT, IMAGE_UNIT, LARGEST_PIXEL

# A float64 of this size has units of 1 in its last bit: adding it rounds a number, ties to even, to
# an integer, which then stands in the low bits. Without a vector instruction from float64 to int64
# that is several times as fast. Pixels allowed here stay far below.
_TO_INTEGER = 1.5 * 2.0**52
_TO_INTEGER_BITS = int(np.float64(_TO_INTEGER).view(np.int64))


def add_images(
    sums: np.ndarray, images: np.ndarray, poses: np.ndarray, order: np.ndarray, slots: np.ndarray
) -> bool:
    """Add ``images[order]`` to the sums ``slots``; return whether all pixels were sound."""
    box = images.shape[-1]
    n_bands = min(get_num_threads(), box)
    sound = np.ones(n_bands, dtype=np.bool_)
    _add_bands(
        sums.reshape(-1, box * box),
        flat_pixels(np.ascontiguousarray(images)),
        poses,
        order,
        slots,
        sound,
        1.0 / IMAGE_UNIT,
    )
    return bool(sound.all())


def add_power(sums: np.ndarray, power: np.ndarray, slots: np.ndarray) -> None:
    """Add CTF^2 (n, N, N // 2 + 1) to the sums ``slots``."""
    n_values = power.shape[1] * power.shape[2]
    _add_values(sums.reshape(-1, n_values), power.reshape(-1, n_values), slots, 1.0 / CTF_UNIT)


@njit(cache=True, parallel=True)
def _add_bands(sums, pixels, poses, order, slots, sound, units):
    box = int(np.sqrt(pixels.shape[1]) + 0.5)
    n_bands = sound.shape[0]
    for band in prange(n_bands):
        places = np.empty(box, np.int32)
        stretch = np.empty((8, box), np.float32)
        moved = np.empty(box, np.float32)
        shifted = np.empty(box, np.float64)
        shifted_bits = shifted.view(np.int64)
        first, last = band * box // n_bands, (band + 1) * box // n_bands
        band_is_sound = True
        for member in range(order.shape[0]):
            image, total = pixels[order[member]], sums[slots[member]]
            pose = poses[order[member]]
            for row in range(first, last):
                transform_row(image, pose, row, moved, 0, places, stretch)
                if not _add_row(total, row * box, moved, units, shifted, shifted_bits):
                    band_is_sound = False
        sound[band] = band_is_sound


@njit(cache=True)
def _add_row(total, base, moved, units, shifted, shifted_bits):
    """Add one row in fixed point; return whether every pixel was finite and not too large."""
    n_unsound = 0
    for column in range(moved.shape[0]):
        value = np.float64(moved[column])
        # A comparison with NaN is false, so this catches it too.
        n_unsound += not abs(value) <= LARGEST_PIXEL
        shifted[column] = value * units + _TO_INTEGER
    row = total[base : base + moved.shape[0]]
    for column in range(moved.shape[0]):
        row[column] += shifted_bits[column] - _TO_INTEGER_BITS
    return n_unsound == 0


@njit(cache=True, parallel=True)
def _add_values(sums, values, slots, units):
    n_values = values.shape[1]
    n_blocks = (n_values + 511) // 512
    for block in prange(n_blocks):
        for member in range(slots.shape[0]):
            total = sums[slots[member]]
            for i in range(block * 512, min(n_values, (block + 1) * 512)):
                total[i] += np.int64(np.rint(np.float64(values[member, i]) * units))
