# SPDX-License-Identifier: GPL-3.0-or-later
"""Ring spectra of one particle at all shifts, on the CPU: sampling, folding and the ring DFT.

Lanes, the innermost axis everywhere, are the shifts. Shifts by whole pixels share the bilinear
weights of a sample, so the samples of all of them cost little more than one; a copy of the image
in which every pixel is followed by its neighbours in x makes them contiguous. The DFT of a ring of
length L is four real matrix products of a quarter of its size: samples at n, L - n, L/2 - n and
L/2 + n (a quad) are added and subtracted first (the even-odd foldings of a real DFT).

Lanes are read and written eight at a time. Where their number is no multiple of eight, what is
written beyond them is overwritten by what belongs there: every array is filled in ascending order
and has room for eight numbers behind its end.

The loops index flat arrays with unsigned offsets: slices would cost reference counts, and signed
indices a test for negative ones, in the innermost loops.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from cryoralib_plugin.geometry.rings import RingLayout
from cryoralib_plugin.kernels._lanes import N_LANES, load, spread, store


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


def quarter_positions(rings: RingLayout, first: int, count: int) -> np.ndarray:
    """Return (2, L/4 + 1, count) float64 x, y of the first quarter of some rings, pixels."""
    length = int(rings.lengths[first])
    circle = rings.unit_circle(length)[: length // 4 + 1].T
    return circle[:, :, None] * rings.radii_px[first : first + count]


@njit(cache=True, nogil=True)
def expand_columns(image, side, width, columns, rows, out, to):
    """Write ``out[to + x * side * width + y * width + i] = image[y, x + i]`` for all i < width.

    ``columns`` and ``rows`` are the first x and y and those behind the last.
    """
    step, line = np.uintp(width), np.uintp(side)
    for x in range(columns[0], columns[1]):
        at = np.uintp(to + (x * side + rows[0]) * width)
        source = np.uintp(rows[0] * side + x)
        for _ in range(rows[0], rows[1]):
            for i in range(np.uintp(0), step, np.uintp(N_LANES)):
                store(out, at + i, load(image, source + i))
            at += step
            source += line


@njit(cache=True, nogil=True)
def _place_samples(centre, offsets, sign, stride, places, near, far):
    """Pixel (times ``stride``) and bilinear weights, along one axis, of samples about a centre.

    The samples lie ``sign * offsets`` away; ``near`` is the weight of the pixel, ``far`` that of
    the next.
    """
    for i in range(offsets.shape[0]):
        position = centre + sign * offsets[i]
        pixel = np.int32(position)
        share = np.float32(position - pixel)
        places[i] = pixel * np.int32(stride)
        near[i] = np.float32(1.0) - share
        far[i] = share


@njit(cache=True, nogil=True, forceinline=True)
def _sample(expanded, at, across, down, left, right, top, bottom):
    """Bilinear values of eight lanes from their four pixels and the weights along the axes."""
    upper = left * load(expanded, at) + right * load(expanded, at + across)
    lower = left * load(expanded, at + down) + right * load(expanded, at + across + down)
    return top * upper + bottom * lower


@njit(cache=True, nogil=True)
def fold_rings(
    expanded, side, x, y, runs, run, n_lanes, places, shares, folded, columns, form_stride, squares
):
    """Sample and fold a run of rings about (x, y).

    ``folded`` receives four foldings, ``form_stride`` apart, of (L/4 + 1, ``columns``), columns
    (n_rings, n_lanes); ``squares``, flat (n_rings, padded lanes), the sums of squared samples.
    """
    tiles, fractions, quarter = runs.tiles, runs.fractions, runs.quarter
    n_rings, n_quarter = runs.counts[run], runs.lengths[run] // 4 + 1
    quarter_at = runs.quarter_starts[run]
    n_tiles, n_quads = tiles.shape[0], n_rings * n_quarter
    for tile in range(n_tiles):
        cx, cy = x + fractions[tile, 0] + tiles[tile, 0], y + fractions[tile, 1] + tiles[tile, 1]
        to = 4 * tile * n_quads
        for axis in range(2):
            centre, stride = (cx, side) if axis == 0 else (cy, 1)
            at = quarter_at + axis * n_quads
            for sign in (1.0, -1.0):
                middle, end = 2 * to + n_quads, 2 * to + 2 * n_quads
                near, far = shares[2 * to : middle], shares[middle:end]
                _place_samples(
                    centre, quarter[at : at + n_quads], sign, stride, places[to : to + n_quads],
                    near, far,
                )  # fmt: skip
                # The first sample and the one opposite have no mirror partners, the quarter-circle
                # sample and its partner no opposite ones: they count as zero.
                if sign < 0.0:
                    none = slice(0, n_rings) if axis == 0 else slice(n_quads - n_rings, n_quads)
                    near[none] = 0.0
                    far[none] = 0.0
                to += n_quads
    padded = squares.shape[0] // n_rings
    squares[:] = 0.0
    cos_even, cos_odd = np.uintp(0), np.uintp(form_stride)
    sin_even, sin_odd = np.uintp(2 * form_stride), np.uintp(3 * form_stride)
    line, eight = np.uintp(n_quads), np.uintp(N_LANES)
    lanes, begin, ring = np.uintp(n_lanes), np.uintp(0), 0
    for quad in range(n_quads):
        for tile in range(n_tiles):
            width, corner = np.uintp(tiles[tile, 2]), np.uintp(tiles[tile, 5])
            across, down = np.uintp(side) * width, width
            count = width * np.uintp(tiles[tile, 3])
            p = np.uintp(4 * tile * n_quads + quad)
            right, left = np.uintp(places[p]), np.uintp(places[p + line])
            low, high = np.uintp(places[p + line + line]), np.uintp(places[p + line + line + line])
            s = p + np.uintp(4 * tile * n_quads)
            right0, right1 = spread(shares[s]), spread(shares[s + line])
            s += line + line
            left0, left1 = spread(shares[s]), spread(shares[s + line])
            s += line + line
            low0, low1 = spread(shares[s]), spread(shares[s + line])
            s += line + line
            high0, high1 = spread(shares[s]), spread(shares[s + line])
            a_at, b_at = corner + (right + low) * width, corner + (left + low) * width
            c_at, d_at = corner + (right + high) * width, corner + (left + high) * width
            to = begin + np.uintp(tiles[tile, 4])
            square = np.uintp(ring * padded + tiles[tile, 6])
            for i in range(np.uintp(0), count, eight):
                a = _sample(expanded, a_at + i, across, down, right0, right1, low0, low1)
                b = _sample(expanded, b_at + i, across, down, left0, left1, low0, low1)
                c = _sample(expanded, c_at + i, across, down, right0, right1, high0, high1)
                d = _sample(expanded, d_at + i, across, down, left0, left1, high0, high1)
                near, far, near_odd, far_odd = a + b, c + d, a - b, c - d
                store(folded, cos_even + to + i, near + far)
                store(folded, cos_odd + to + i, near - far)
                store(folded, sin_even + to + i, near_odd - far_odd)
                store(folded, sin_odd + to + i, near_odd + far_odd)
                total = load(squares, square + i) + a * a + b * b + c * c + d * d
                store(squares, square + i, total)
        begin += lanes
        ring += 1
        if ring == n_rings:
            ring = 0
            begin += np.uintp(columns - n_rings * n_lanes)


@njit(cache=True, nogil=True)
def scatter_harmonics(
    product, columns, n_rows, n_rings, parity, part, first_of_group, first_ring, starts, n_lanes,
    spectra,
):  # fmt: skip
    """Copy one DFT product, flat (n_rows, columns), columns (n_rings, n_lanes), to the operands.

    Row i is harmonic ``2 i + parity``; lanes of block b, ring r of harmonic k go to
    ``spectra[b * starts[-1] + starts[k] + (r - first_ring[k]) * 16 + part * 8]``.
    """
    block_stride, lanes = np.uintp(starts[starts.shape[0] - 1]), np.uintp(n_lanes)
    eight, sixteen = np.uintp(N_LANES), np.uintp(2 * N_LANES)
    for i in range(n_rows):
        k = 2 * i + parity
        skipped = max(0, first_ring[k] - first_of_group)
        to = np.uintp(
            starts[k] + (first_of_group + skipped - first_ring[k]) * 2 * N_LANES + part * N_LANES
        )
        source = np.uintp(i * columns + skipped * n_lanes)
        for _ in range(skipped, n_rings):
            block = to
            for lane in range(np.uintp(0), lanes, eight):
                store(spectra, block, load(product, source + lane))
                block += block_stride
            to += sixteen
            source += lanes
