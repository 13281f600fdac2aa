# SPDX-License-Identifier: GPL-3.0-or-later
"""Peak heights of one particle with a range of references, on the CPU.

Per harmonic one matrix product gives the four sums a = sum Ar Br, b = sum Ai Bi, c = sum Ar Bi,
d = sum Ai Br; straight spectra are (a + b) + i (d - c), mirrored ones (a - b) - i (c + d). The
inverse transform at all angles is again folded into four products of a quarter of its size, and
only the maximum over the angles is kept. Eight shifts, a block, are worked on at a time.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from cryoralib_plugin.kernels._lanes import N_LANES, larger, load, magnitude, spread, store

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
def harmonic_products(given, first, last, spectra, block_at, products):
    """Fill flat ``products`` (n_harmonics, n_references, a | c | d | b, 8) of one block."""
    rows, n_rings = 2 * (last - first), given.tables.shape[1]
    for k in range(given.first_ring.shape[0]):
        depth = n_rings - given.first_ring[k]
        multiply(
            given.spectra, given.starts[k] + 2 * first * depth, depth, spectra,
            block_at + given.particle_starts[k], products, k * rows * 2 * N_LANES, rows,
            2 * N_LANES,
        )  # fmt: skip


@njit(cache=True, nogil=True)
def _combine(products, sums_at, stride, n_even, n_odd, real, imaginary):
    """Both hands' spectra of one reference, even harmonics first, from its sums.

    ``real`` and ``imaginary``, flat (n_harmonics, straight | mirrored, 8), become the operands of
    the inverse transform.
    """
    eight, sixteen = np.uintp(N_LANES), np.uintp(2 * N_LANES)
    at, step = np.uintp(sums_at), np.uintp(stride)
    even, odd, nothing = np.uintp(0), np.uintp(n_even) * sixteen, spread(np.float32(0.0))
    for k in range(n_even + n_odd):
        a, c = load(products, at), load(products, at + eight)
        d, b = load(products, at + sixteen), load(products, at + sixteen + eight)
        to = odd if k % 2 else even
        store(real, to, a + b)
        store(real, to + eight, a - b)
        store(imaginary, to, d - c)
        store(imaginary, to + eight, nothing - (c + d))
        if k % 2:
            odd += sixteen
        else:
            even += sixteen
        at += step


@njit(cache=True, nogil=True)
def _highest_angles(angles, n_rows, heights, straight_at, mirrored_at):
    """Write the largest of the four angles that each folded row stands for, over all rows.

    ``angles`` flat (even cosines | odd cosines | even sines | odd sines, n_rows, 16).
    """
    form = np.uintp(n_rows * 2 * N_LANES)
    for hand in range(2):
        best = spread(np.float32(-np.inf))
        at = np.uintp(hand * N_LANES)
        for _ in range(n_rows):
            even, odd = load(angles, at), load(angles, at + form)
            sine_even = load(angles, at + form + form)
            sine_odd = load(angles, at + form + form + form)
            near = even + odd + magnitude(sine_even + sine_odd)
            far = even - odd + magnitude(sine_even - sine_odd)
            best = larger(best, larger(near, far))
            at += np.uintp(2 * N_LANES)
        store(heights, straight_at if hand == 0 else mirrored_at, best)


@njit(cache=True, nogil=True)
def peak_heights(products, n_references, given, work, heights, at, n_padded):
    """Write peak heights of one block with ``n_references`` references.

    Those of the first reference go to ``heights[at:]``, mirrored ones ``n_padded`` further on.
    ``work`` holds 2 * n_harmonics + 4 * n_rows rows of 16 float32. One reference at a time stays
    in the first-level cache from its four sums to its heights.
    """
    cos_even, cos_odd, sin_even, sin_odd = (
        given.cos_even, given.cos_odd, given.sin_even, given.sin_odd,
    )  # fmt: skip
    n_rows, n_even, n_odd = cos_even.shape[0], cos_even.shape[1], cos_odd.shape[1]
    columns, n_harmonics = 2 * N_LANES, n_even + n_odd
    ce, co = cos_even.reshape(cos_even.size), cos_odd.reshape(cos_odd.size)
    se, so = sin_even.reshape(sin_even.size), sin_odd.reshape(sin_odd.size)
    real, imaginary = work[: n_harmonics * columns], work[n_harmonics * columns :]
    angles = work[2 * n_harmonics * columns :]
    odd, form = n_even * columns, n_rows * columns
    for reference in range(n_references):
        _combine(
            products, reference * 2 * columns, n_references * 2 * columns, n_even, n_odd, real,
            imaginary,
        )  # fmt: skip
        multiply(ce, 0, n_even, real, 0, angles, 0, n_rows, columns)
        multiply(co, 0, n_odd, real, odd, angles, form, n_rows, columns)
        multiply(se, 0, n_even, imaginary, 0, angles, 2 * form, n_rows, columns)
        multiply(so, 0, n_odd, imaginary, odd, angles, 3 * form, n_rows, columns)
        to = at + reference * 2 * n_padded
        _highest_angles(angles, n_rows, heights, to, to + n_padded)
