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

from ._cpu_product import multiply


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
def harmonic_products(given, first, last, spectra, n_lanes, products):
    """Fill flat ``products`` (n_harmonics, n_references, a | c | d | b, n_lanes)."""
    rows, n_rings = 2 * (last - first), given.tables.shape[1]
    for k in range(given.first_ring.shape[0]):
        depth = n_rings - given.first_ring[k]
        multiply(
            given.spectra, given.starts[k] + 2 * first * depth, depth, spectra,
            given.particle_starts[k], products, k * rows * 2 * n_lanes, rows, 2 * n_lanes,
        )  # fmt: skip


@njit(cache=True, nogil=True, fastmath={"contract", "nsz"})
def _combine(products, row, n_lanes, real, imaginary, to):
    """Both hands' spectra from the sums (a | c | d | b) of one harmonic and reference."""
    a = np.uintp(row)
    c, d, b = a + np.uintp(n_lanes), a + np.uintp(2 * n_lanes), a + np.uintp(3 * n_lanes)
    straight = np.uintp(to)
    mirrored = straight + np.uintp(n_lanes)
    for lane in range(np.uintp(n_lanes)):
        va, vb = products[a + lane], products[b + lane]
        vc, vd = products[c + lane], products[d + lane]
        real[straight + lane] = va + vb
        real[mirrored + lane] = va - vb
        imaginary[straight + lane] = vd - vc
        imaginary[mirrored + lane] = -(vc + vd)


@njit(cache=True, nogil=True, fastmath=True)
def _raise_heights(angles, columns, n_rows, heights, to):
    """Raise heights to the largest of the four angles that each folded row stands for.

    ``angles`` flat (even cosines, odd cosines, even sines, odd sines; 2 rows; columns).
    """
    width, form, height = np.uintp(columns), np.uintp(2 * columns), np.uintp(to)
    for row in range(np.uintp(n_rows)):
        at = row * width
        for i in range(width):
            near_even, near_odd = angles[at + i], angles[at + form + i]
            sine_even, sine_odd = angles[at + form + form + i], angles[at + form + form + form + i]
            near = near_even + near_odd + abs(sine_even + sine_odd)
            far = near_even - near_odd + abs(sine_even - sine_odd)
            heights[height + i] = max(heights[height + i], max(near, far))


@njit(cache=True, nogil=True)
def peak_heights(products, n_references, n_lanes, given, work, heights, heights_at):
    """Write (n_references, 2 * n_lanes) peak heights: straight lanes, then mirrored lanes.

    ``work`` holds 2 * (n_harmonics + 4) * 2 * n_lanes float32. One reference at a time stays in
    the first-level cache from its four sums to its heights.
    """
    cos_even, cos_odd, sin_even, sin_odd = (
        given.cos_even, given.cos_odd, given.sin_even, given.sin_odd,
    )  # fmt: skip
    n_rows, n_even, n_odd = cos_even.shape[0], cos_even.shape[1], cos_odd.shape[1]
    n_harmonics, columns = n_even + n_odd, 2 * n_lanes
    ce, co = cos_even.reshape(cos_even.size), cos_odd.reshape(cos_odd.size)
    se, so = sin_even.reshape(sin_even.size), sin_odd.reshape(sin_odd.size)
    real, imaginary = work[: n_harmonics * columns], work[n_harmonics * columns :]
    angles = work[2 * n_harmonics * columns :]
    odd = n_even * columns
    for reference in range(n_references):
        for k in range(n_harmonics):
            # Even harmonics first: each half is one contiguous operand.
            row = (k // 2 if k % 2 == 0 else n_even + k // 2) * columns
            sums = (k * n_references + reference) * 4 * n_lanes
            _combine(products, sums, n_lanes, real, imaginary, row)
        to = heights_at + reference * columns
        heights[to : to + columns] = -np.inf
        for j in range(0, n_rows, 2):
            rows = min(2, n_rows - j)
            multiply(ce, j * n_even, n_even, real, 0, angles, 0, rows, columns)
            multiply(co, j * n_odd, n_odd, real, odd, angles, 2 * columns, rows, columns)
            multiply(se, j * n_even, n_even, imaginary, 0, angles, 4 * columns, rows, columns)
            multiply(so, j * n_odd, n_odd, imaginary, odd, angles, 6 * columns, rows, columns)
            _raise_heights(angles, columns, rows, heights, to)
