# SPDX-License-Identifier: GPL-3.0-or-later
"""Ring spectra of one particle at all shifts, on the CPU: sampling, folding and the ring DFT.

Lanes, the innermost axis everywhere, are the shifts. Shifts by whole pixels share the bilinear
weights of a sample, so the samples of all of them cost little more than one. The DFT of a ring of
length L is four real matrix products of a quarter of its size: samples at n, L - n, L/2 - n and
L/2 + n are added and subtracted first (the even-odd foldings of a real DFT).
"""

from __future__ import annotations

import numpy as np
from numba import njit

from cryoralib_plugin.geometry.rings import RingLayout

# Lanes are computed eight at a time; buffers have room for what the last eight spill over.
SPILL = 16


def dft_matrices(length: int, n_harmonics: int) -> tuple[np.ndarray, ...]:
    """Return the four float32 matrices of the folded DFT of a real ring.

    Rows are even, odd, even, odd harmonics below ``n_harmonics``; columns are the folded samples
    0 .. L/4. The first two give real parts (cosines), the last two imaginary parts (-sines).
    """
    n_harmonics = min(n_harmonics, length // 2 + 1)
    n = np.arange(length // 4 + 1)
    even, odd = np.arange(0, n_harmonics, 2), np.arange(1, n_harmonics, 2)
    phase = [2.0 * np.pi * np.outer(k, n) / length for k in (even, odd)]
    return (
        np.cos(phase[0]).astype(np.float32),
        np.cos(phase[1]).astype(np.float32),
        -np.sin(phase[0]).astype(np.float32),
        -np.sin(phase[1]).astype(np.float32),
    )


def quarter_positions(rings: RingLayout) -> np.ndarray:
    """Return (sum of L/4 + 1, 2) float64 x, y of the first quarter of every ring, pixels."""
    return np.concatenate([
        radius * rings.unit_circle(int(length))[: length // 4 + 1]
        for radius, length in zip(rings.radii_px, rings.lengths)
    ])


@njit(cache=True, nogil=True, inline="always")
def _sample_rectangle(image, stride, x, y, width, height, out):
    """Bilinear values at (x, y) and all whole-pixel steps from it, eight columns at a time."""
    column, row = np.intp(np.floor(x)), np.intp(np.floor(y))
    dx, dy = np.float32(x - column), np.float32(y - row)
    ex, ey = np.float32(1.0) - dx, np.float32(1.0) - dy
    corner = np.uintp(row * stride + column)
    step, one, target_step = np.uintp(stride), np.uintp(1), np.uintp(width)
    for first in range(0, width, 8):
        at = corner + np.uintp(first)
        to = np.uintp(first)
        # Written out so that the compiler packs the eight lanes into vector registers.
        v0, v1, v2 = image[at], image[at + one], image[at + np.uintp(2)]
        v3, v4, v5 = image[at + np.uintp(3)], image[at + np.uintp(4)], image[at + np.uintp(5)]
        v6, v7, v8 = image[at + np.uintp(6)], image[at + np.uintp(7)], image[at + np.uintp(8)]
        p0, p1, p2, p3 = v0 * ex + v1 * dx, v1 * ex + v2 * dx, v2 * ex + v3 * dx, v3 * ex + v4 * dx
        p4, p5, p6, p7 = v4 * ex + v5 * dx, v5 * ex + v6 * dx, v6 * ex + v7 * dx, v7 * ex + v8 * dx
        for _ in range(height):
            at += step
            v0, v1, v2 = image[at], image[at + one], image[at + np.uintp(2)]
            v3, v4, v5 = image[at + np.uintp(3)], image[at + np.uintp(4)], image[at + np.uintp(5)]
            v6, v7, v8 = image[at + np.uintp(6)], image[at + np.uintp(7)], image[at + np.uintp(8)]
            c0, c1, c2 = v0 * ex + v1 * dx, v1 * ex + v2 * dx, v2 * ex + v3 * dx
            c3, c4, c5 = v3 * ex + v4 * dx, v4 * ex + v5 * dx, v5 * ex + v6 * dx
            c6, c7 = v6 * ex + v7 * dx, v7 * ex + v8 * dx
            out[to] = p0 * ey + c0 * dy
            out[to + one] = p1 * ey + c1 * dy
            out[to + np.uintp(2)] = p2 * ey + c2 * dy
            out[to + np.uintp(3)] = p3 * ey + c3 * dy
            out[to + np.uintp(4)] = p4 * ey + c4 * dy
            out[to + np.uintp(5)] = p5 * ey + c5 * dy
            out[to + np.uintp(6)] = p6 * ey + c6 * dy
            out[to + np.uintp(7)] = p7 * ey + c7 * dy
            p0, p1, p2, p3, p4, p5, p6, p7 = c0, c1, c2, c3, c4, c5, c6, c7
            to += target_step


@njit(cache=True, nogil=True)
def _sample_lanes(image, stride, x, y, fractions, boxes, out):
    """Fill ``out`` with the values at (x, y) moved by every shift."""
    for tile in range(boxes.shape[0]):
        _sample_rectangle(
            image, stride, x + fractions[tile, 0] + boxes[tile, 0],
            y + fractions[tile, 1] + boxes[tile, 1], boxes[tile, 2], boxes[tile, 3],
            out[boxes[tile, 4] :],
        )


@njit(cache=True, nogil=True, fastmath={"contract", "nsz", "arcp"})
def _fold_four(a, b, c, d, cos_even, cos_odd, sin_even, sin_odd, squares):
    """Fold the samples at n, L - n, L/2 - n, L/2 + n and add up their squares, lane by lane."""
    for lane in range(cos_even.shape[0]):
        va, vb, vc, vd = a[lane], b[lane], c[lane], d[lane]
        near, far = va + vb, vc + vd
        near_odd, far_odd = va - vb, vc - vd
        cos_even[lane] = near + far
        cos_odd[lane] = near - far
        sin_even[lane] = near_odd - far_odd
        sin_odd[lane] = near_odd + far_odd
        squares[lane] += va * va + vb * vb + vc * vc + vd * vd


@njit(cache=True, nogil=True)
def fold_group(image, stride, x, y, quarter, n_rings, fractions, boxes, four, folded, ring_squares):
    """Sample and fold all rings of one length.

    ``quarter`` (n_rings * (L/4 + 1), 2) are sample positions about (x, y); ``folded``
    (4, L/4 + 1, n_rings, n_lanes) float32 receives the foldings, ``ring_squares``
    (n_rings, n_lanes) float32 the sums of squared samples.
    """
    n_quarter = quarter.shape[0] // n_rings
    n_lanes = folded.shape[3]
    for ring in range(n_rings):
        squares = ring_squares[ring]
        squares[:] = 0.0
        for n in range(n_quarter):
            px, py = quarter[ring * n_quarter + n, 0], quarter[ring * n_quarter + n, 1]
            _sample_lanes(image, stride, x + px, y + py, fractions, boxes, four[0])
            if n == 0:
                # The first sample and the one opposite have no partners of their own.
                _sample_lanes(image, stride, x + px, y - py, fractions, boxes, four[1])
                for lane in range(n_lanes):
                    first, opposite = four[0, lane], four[1, lane]
                    folded[0, n, ring, lane] = first + opposite
                    folded[1, n, ring, lane] = first - opposite
                    folded[2, n, ring, lane] = 0.0
                    folded[3, n, ring, lane] = 0.0
                    squares[lane] += first * first + opposite * opposite
            elif n == n_quarter - 1:
                _sample_lanes(image, stride, x - px, y + py, fractions, boxes, four[1])
                for lane in range(n_lanes):
                    right, left = four[0, lane], four[1, lane]
                    folded[0, n, ring, lane] = right + left
                    folded[1, n, ring, lane] = 0.0
                    folded[2, n, ring, lane] = 0.0
                    folded[3, n, ring, lane] = right - left
                    squares[lane] += right * right + left * left
            else:
                _sample_lanes(image, stride, x - px, y + py, fractions, boxes, four[1])
                _sample_lanes(image, stride, x + px, y - py, fractions, boxes, four[2])
                _sample_lanes(image, stride, x - px, y - py, fractions, boxes, four[3])
                _fold_four(
                    four[0], four[1], four[2], four[3], folded[0, n, ring], folded[1, n, ring],
                    folded[2, n, ring], folded[3, n, ring], squares,
                )


@njit(cache=True, nogil=True)
def scatter_harmonics(product, parity, part, first_of_group, first_ring, starts, n_lanes, spectra):
    """Copy one DFT product (n_k, n_rings * n_lanes) to the per-harmonic operand matrices.

    Row i of ``product`` is harmonic ``2 i + parity``; ring r of harmonic k goes to
    ``spectra[starts[k] + (r - first_ring[k]) * 2 n_lanes + part * n_lanes]``.
    """
    n_rings = product.shape[1] // n_lanes
    for i in range(product.shape[0]):
        k = 2 * i + parity
        for ring in range(max(0, first_ring[k] - first_of_group), n_rings):
            to = starts[k] + (first_of_group + ring - first_ring[k]) * 2 * n_lanes + part * n_lanes
            spectra[to : to + n_lanes] = product[i, ring * n_lanes : (ring + 1) * n_lanes]
