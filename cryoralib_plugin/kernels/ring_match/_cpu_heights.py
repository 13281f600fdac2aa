# SPDX-License-Identifier: GPL-3.0-or-later
"""Peak heights of one particle with a range of references, on the CPU.

Per harmonic one matrix product gives the four sums a = sum Ar Br, b = sum Ai Bi, c = sum Ar Bi,
d = sum Ai Br; straight spectra are (a + b) + i (d - c), mirrored ones (a - b) - i (c + d). The
inverse transform at all angles is again folded into four products of a quarter of its size, and
only the maximum over the angles is kept.
"""

from __future__ import annotations

import numpy as np
from numba import njit


def inverse_matrices(n_angles: int, n_harmonics: int) -> tuple[np.ndarray, ...]:
    """Return four float32 matrices (n_angles / 4 + 1, n_k): even and odd cosines, then sines."""
    j = np.arange(n_angles // 4 + 1)
    factor = np.full(n_harmonics, 2.0)
    factor[0] = 1.0
    if n_harmonics == n_angles // 2 + 1:
        factor[-1] = 1.0
    even, odd = np.arange(0, n_harmonics, 2), np.arange(1, n_harmonics, 2)
    return tuple(
        np.ascontiguousarray(function(2.0 * np.pi * np.outer(j, k) / n_angles) * factor[k], "f4")
        for function in (np.cos, np.sin)
        for k in (even, odd)
    )


@njit(cache=True, nogil=True)
def harmonic_products(
    reference_spectra, reference_starts, first_ring, n_rings, first, last, spectra, starts, n_lanes,
    products,
):
    """Fill ``products`` (n_harmonics, 2 * n_references, 2 * n_lanes) with the four sums."""
    n_references = last - first
    for k in range(first_ring.shape[0]):
        depth = n_rings - first_ring[k]
        begin = reference_starts[k] + 2 * first * depth
        left = reference_spectra[begin : begin + 2 * n_references * depth].reshape(
            (2 * n_references, depth)
        )
        right = spectra[starts[k] : starts[k] + depth * 2 * n_lanes].reshape((depth, 2 * n_lanes))
        np.dot(left, right, products[k])


@njit(cache=True, nogil=True, fastmath={"contract", "nsz"})
def _combine_row(real_row, imaginary_row, n_lanes, out_real, out_imaginary):
    """Both hands' spectra from the rows (a | c) and (d | b) of one harmonic and reference."""
    a, c = real_row[:n_lanes], real_row[n_lanes:]
    d, b = imaginary_row[:n_lanes], imaginary_row[n_lanes:]
    straight_real, mirrored_real = out_real[:n_lanes], out_real[n_lanes:]
    straight_imaginary, mirrored_imaginary = out_imaginary[:n_lanes], out_imaginary[n_lanes:]
    for lane in range(n_lanes):
        straight_real[lane] = a[lane] + b[lane]
        mirrored_real[lane] = a[lane] - b[lane]
        straight_imaginary[lane] = d[lane] - c[lane]
        mirrored_imaginary[lane] = -(c[lane] + d[lane])


@njit(cache=True, nogil=True, fastmath=True)
def _fold_maximum(cos_even, cos_odd, sin_even, sin_odd, height):
    """Raise ``height`` to the largest of the four angles that one folded row stands for."""
    for i in range(height.shape[0]):
        near, far = cos_even[i] + cos_odd[i], cos_even[i] - cos_odd[i]
        near_odd, far_odd = abs(sin_even[i] + sin_odd[i]), abs(sin_even[i] - sin_odd[i])
        height[i] = max(height[i], max(near + near_odd, far + far_odd))


@njit(cache=True, nogil=True)
def peak_heights(products, n_lanes, matrices, spectra_work, angle_work, heights):
    """Fill ``heights`` (n_references, 2 * n_lanes): straight lanes, then mirrored lanes.

    ``spectra_work`` holds at least n_harmonics * 2 * block columns, ``angle_work``
    4 * (n_angles / 4 + 1) * block columns of float32, where a block is as many references as fit.
    """
    n_harmonics, n_references = products.shape[0], products.shape[1] // 2
    cos_even, cos_odd, sin_even, sin_odd = matrices
    n_rows = cos_even.shape[0]
    n_even, n_odd = cos_even.shape[1], cos_odd.shape[1]
    block = max(1, angle_work.shape[0] // (4 * n_rows * 2 * n_lanes))
    for first in range(0, n_references, block):
        count = min(block, n_references - first)
        columns = count * 2 * n_lanes
        size = n_harmonics * columns
        real = spectra_work[:size]
        imaginary = spectra_work[size : 2 * size]
        for k in range(n_harmonics):
            # Even harmonics first: each half is one contiguous operand.
            row = (k // 2 if k % 2 == 0 else n_even + k // 2) * columns
            for i in range(count):
                at = row + i * 2 * n_lanes
                _combine_row(
                    products[k, 2 * (first + i)], products[k, 2 * (first + i) + 1], n_lanes,
                    real[at : at + 2 * n_lanes], imaginary[at : at + 2 * n_lanes],
                )
        split = n_even * columns
        angles = angle_work[: 4 * n_rows * columns].reshape((4, n_rows, columns))
        np.dot(cos_even, real[:split].reshape((n_even, columns)), angles[0])
        np.dot(cos_odd, real[split:].reshape((n_odd, columns)), angles[1])
        np.dot(sin_even, imaginary[:split].reshape((n_even, columns)), angles[2])
        np.dot(sin_odd, imaginary[split:].reshape((n_odd, columns)), angles[3])
        height = heights[first : first + count].reshape(columns)
        height[:] = -np.inf
        for j in range(n_rows):
            _fold_maximum(angles[0, j], angles[1, j], angles[2, j], angles[3, j], height)
