# SPDX-License-Identifier: GPL-3.0-or-later
"""Ring spectra of one particle at all shifts, on the CPU: sampling, folding and the ring DFT.

Lanes, the innermost axis everywhere, are the shifts. Shifts by whole pixels share the bilinear
weights of a sample, so the samples of all of them cost little more than one; a copy of the image
in which every pixel is followed by its neighbours in x makes them contiguous. The DFT of a ring of
length L is four real matrix products of a quarter of its size: samples at n, L - n, L/2 - n and
L/2 + n are added and subtracted first (the even-odd foldings of a real DFT).

The loops index flat arrays with unsigned offsets: slices would cost reference counts, and signed
indices a test for negative ones, in the innermost loops.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from cryoralib_plugin.geometry.rings import RingLayout


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
    return np.concatenate(
        [
            radius * rings.unit_circle(int(length))[: length // 4 + 1]
            for radius, length in zip(rings.radii_px, rings.lengths)
        ]
    )


@njit(cache=True, nogil=True)
def expand_columns(image, side, width, out, to):
    """Write ``out[to + x * side * width + y * width + i] = image[y, x + i]`` for all i < width."""
    at = np.uintp(to)
    one = np.uintp(1)
    for x in range(side - width):
        for y in range(side):
            source = np.uintp(y * side + x)
            for _ in range(width):
                out[at] = image[source]
                at += one
                source += one


@njit(cache=True, nogil=True, fastmath={"contract", "nsz"}, forceinline=True)
def _sample_lanes(expanded, at, column_stride, width, n_lanes, dx, dy, out, to):
    """Fill ``n_lanes`` values of ``out`` with the image ``dx``, ``dy`` beyond the pixel ``at``."""
    ex, ey = np.float32(1.0) - dx, np.float32(1.0) - dy
    left_top, right_top, left_bottom, right_bottom = ex * ey, dx * ey, ex * dy, dx * dy
    right = at + column_stride
    below, across = at + width, right + width
    for lane in range(n_lanes):
        out[to + lane] = (
            expanded[at + lane] * left_top
            + expanded[right + lane] * right_top
            + expanded[below + lane] * left_bottom
            + expanded[across + lane] * right_bottom
        )


@njit(cache=True, nogil=True, fastmath={"contract", "nsz"}, forceinline=True)
def _fold(four, n_lanes, folded, cos_even, form_stride, squares, square):
    """Fold the samples at n, L - n, L/2 - n, L/2 + n and add up their squares, lane by lane."""
    two = n_lanes + n_lanes
    three = two + n_lanes
    cos_odd = cos_even + form_stride
    sin_even = cos_odd + form_stride
    sin_odd = sin_even + form_stride
    for lane in range(n_lanes):
        a, b, c, d = four[lane], four[n_lanes + lane], four[two + lane], four[three + lane]
        near, far, near_odd, far_odd = a + b, c + d, a - b, c - d
        folded[cos_even + lane] = near + far
        folded[cos_odd + lane] = near - far
        folded[sin_even + lane] = near_odd - far_odd
        folded[sin_odd + lane] = near_odd + far_odd
        squares[square + lane] += a * a + b * b + c * c + d * d


@njit(cache=True, nogil=True)
def fold_rings(
    expanded, side, x, y, quarter, n_rings, n_lanes, tiles, fractions, four, folded, squares
):
    """Sample and fold some rings of one length.

    ``quarter`` (n_rings * (L/4 + 1), 2) are sample positions about (x, y); ``folded``, flat
    (4, L/4 + 1, n_rings, n_lanes) float32, receives the foldings and ``squares``, flat
    (n_rings, n_lanes) float32, the sums of squared samples.
    """
    n_quarter = quarter.shape[0] // n_rings
    form_stride = np.uintp(n_quarter * n_rings * n_lanes)
    squares[: n_rings * n_lanes] = 0.0
    for tile in range(tiles.shape[0]):
        width, corner = np.uintp(tiles[tile, 2]), np.uintp(tiles[tile, 5])
        stride, count = np.uintp(side) * width, width * np.uintp(tiles[tile, 3])
        two, three = count + count, count + count + count
        cx, cy = x + fractions[tile, 0] + tiles[tile, 0], y + fractions[tile, 1] + tiles[tile, 1]
        for ring in range(n_rings):
            for n in range(n_quarter):
                # The four samples share two columns and two rows.
                px, py = quarter[ring * n_quarter + n, 0], quarter[ring * n_quarter + n, 1]
                column, other_column = np.uintp(cx + px), np.uintp(cx - px)
                row, other_row = np.uintp(cy + py), np.uintp(cy - py)
                dx, other_dx = np.float32(cx + px - column), np.float32(cx - px - other_column)
                dy, other_dy = np.float32(cy + py - row), np.float32(cy - py - other_row)
                right, left = corner + column * stride, corner + other_column * stride
                low, high = row * width, other_row * width
                if n == 0 or n == n_quarter - 1:
                    # The first sample and the one opposite have no mirror partners, the
                    # quarter-circle sample and its partner no opposite ones: they count as zero.
                    four[count : 4 * count] = 0.0
                _sample_lanes(
                    expanded, right + low, stride, width, count, dx, dy, four, np.uintp(0)
                )
                if n > 0:
                    _sample_lanes(
                        expanded, left + low, stride, width, count, other_dx, dy, four, count
                    )
                if n < n_quarter - 1:
                    _sample_lanes(
                        expanded, right + high, stride, width, count, dx, other_dy, four, two
                    )
                if 0 < n < n_quarter - 1:
                    _sample_lanes(
                        expanded, left + high, stride, width, count, other_dx, other_dy, four, three
                    )
                _fold(
                    four,
                    count,
                    folded,
                    np.uintp((n * n_rings + ring) * n_lanes + tiles[tile, 4]),
                    form_stride,
                    squares,
                    np.uintp(ring * n_lanes + tiles[tile, 4]),
                )


@njit(cache=True, nogil=True)
def scatter_harmonics(
    product, n_rows, n_rings, parity, part, first_of_group, first_ring, starts, n_lanes, spectra
):
    """Copy one DFT product, flat (n_rows, n_rings, n_lanes), to the per-harmonic operands.

    Row i is harmonic ``2 i + parity``; ring r of harmonic k goes to
    ``spectra[starts[k] + (r - first_ring[k]) * 2 n_lanes + part * n_lanes]``.
    """
    for i in range(n_rows):
        k = 2 * i + parity
        for ring in range(max(0, first_ring[k] - first_of_group), n_rings):
            to = np.uintp(
                starts[k] + (first_of_group + ring - first_ring[k]) * 2 * n_lanes + part * n_lanes
            )
            source = np.uintp((i * n_rings + ring) * n_lanes)
            for lane in range(np.uintp(n_lanes)):
                spectra[to + lane] = product[source + lane]
