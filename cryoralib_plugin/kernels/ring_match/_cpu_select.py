# SPDX-License-Identifier: GPL-3.0-or-later
"""From peak heights to the winner: exact comparison of all candidates rounding could confuse."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from cryoralib_plugin.kernels._lanes import N_LANES

from ._cpu_exact import climb, exact_rings, unroll
from ._cpu_product import multiply


@njit(cache=True, nogil=True)
def settled(score):
    """Return a score without its last bits, which the order of summation must not make decide."""
    if not np.isfinite(score):
        return score
    mantissa, exponent = math.frexp(score)
    return math.ldexp(np.rint(mantissa * 2.0**40), exponent - 40)


@njit(cache=True, nogil=True)
def _angle_curve(given, reference, spectra, lane, mirror, work):
    """Fill the start of flat ``work`` with the fast pass's correlation of one candidate.

    Returns a view of it, (n_angles,).
    """
    n_harmonics, n_rings = given.first_ring.shape[0], given.tables.shape[1]
    n_even, n_odd = given.cos_even.shape[1], given.cos_odd.shape[1]
    block = lane // N_LANES * given.particle_starts[-1] + lane % N_LANES
    n_angles = given.tables.shape[2]
    # Real parts of even and odd harmonics, then imaginary ones.
    parts = work[n_angles : n_angles + 2 * n_harmonics]
    for k in range(n_harmonics):
        depth = n_rings - given.first_ring[k]
        at = np.uintp(given.starts[k] + 2 * reference * depth)
        right = np.uintp(block + given.particle_starts[k])
        a = b = c = d = np.float32(0.0)
        for _ in range(depth):
            ref_real, ref_imaginary = given.spectra[at], given.spectra[at + np.uintp(depth)]
            part_real, part_imaginary = spectra[right], spectra[right + np.uintp(N_LANES)]
            a += ref_real * part_real
            b += ref_imaginary * part_imaginary
            c += ref_real * part_imaginary
            d += ref_imaginary * part_real
            at += np.uintp(1)
            right += np.uintp(2 * N_LANES)
        place = k // 2 if k % 2 == 0 else n_even + k // 2
        parts[place] = a - b if mirror else a + b
        parts[n_harmonics + place] = -(c + d) if mirror else d - c
    quarter = n_angles // 4
    columns = -(-(quarter + 1) // N_LANES) * N_LANES
    sums = work[n_angles + 2 * n_harmonics :]
    matrix = part = 0
    for form in range(4):
        depth = n_even if form % 2 == 0 else n_odd
        multiply(parts, part, depth, given.curve_matrices, matrix, sums, form * columns, 1, columns)
        matrix += depth * columns
        part += depth
    for j in range(quarter + 1):
        ce, co = sums[j], sums[columns + j]
        se, so = sums[2 * columns + j], sums[3 * columns + j]
        work[j] = ce + co - se - so
        work[(n_angles - j) % n_angles] = ce + co + se + so
        work[2 * quarter - j] = ce - co + se - so
        work[2 * quarter + j] = ce - co - se + so
    return work[:n_angles]


@njit(cache=True, nogil=True)
def _best_angle(table, starts, lengths, turns, mirror, curve, threshold):
    """Highest exact peak among the curve's local maxima above a threshold: score, bin, offset."""
    best, best_angle, best_offset = -np.inf, -1, 0.0
    n_angles = curve.shape[0]
    for j in range(n_angles):
        # Of a plateau its last bin; a constant curve has one too.
        falls = j == n_angles - 1 or curve[j] > curve[j + 1]
        if curve[j] >= threshold and curve[j] >= curve[j - 1] and falls:
            score, angle, offset = climb(table, n_angles, starts, lengths, turns, mirror, j)
            if score > best or (score == best and angle > best_angle):
                best, best_angle, best_offset = score, angle, offset
    return best, best_angle, best_offset


@njit(cache=True, nogil=True)
def _parabola_offset(before, middle, after):
    """Position of the maximum of a parabola through three values, in steps, at most a half."""
    curvature = before - 2.0 * middle + after
    if not (np.isfinite(curvature) and curvature < 0.0):
        return 0.0
    return min(0.5, max(-0.5, 0.5 * (before - after) / curvature))


@njit(cache=True, nogil=True)
def select_best(image, shift, first, last, tolerance, search, given, work, thread, result):
    """Fill ``result`` with the exact winner among references ``first`` .. ``last - 1``.

    The thread's normalised peak heights are wrong by at most ``tolerance``. ``result`` receives
    reference, psi (degrees), shift x, shift y (pixels), mirror, score.
    """
    heights, highest = work.heights[thread], work.highest[thread]
    deviations, spectra = work.deviations[thread], work.spectra[thread]
    samples, turns = work.samples[thread], work.turns[thread]
    starts, lengths, tables = search.starts, search.lengths, given.tables
    n_rings, n_angles = tables.shape[1], tables.shape[2]
    n_lanes, centre = search.lane_of_shift.shape[0], image.shape[0] // 2
    n_padded = -(-n_lanes // N_LANES) * N_LANES
    top = highest[first:last].max()
    threshold = top - np.float32(2.0 * tolerance)
    best, best_shift, best_angle, best_offset = -np.inf, -1, 0, 0.0
    best_reference, best_mirror = first, False
    for i in range(n_lanes):
        lane = search.lane_of_shift[i]
        sampled, unrolled = False, -1
        for k in range(first, last):
            if highest[k] < threshold:
                continue
            row = k * 2 * n_padded + lane
            if max(heights[row], heights[row + n_padded]) < threshold:
                continue
            if not sampled:
                x, y = centre - shift[0] - search.grid[i, 0], centre - shift[1] - search.grid[i, 1]
                exact_rings(image, x, y, search, samples)
                sampled = True
            table = tables[k].reshape(n_rings * n_angles)
            score, angle, offset, mirror = -np.inf, -1, 0.0, False
            for hand in range(2):
                if heights[row + hand * n_padded] < threshold:
                    continue
                if unrolled != hand:
                    unroll(samples, starts, lengths, hand == 1, turns)
                    unrolled = hand
                curve = _angle_curve(given, k, spectra, lane, hand == 1, work.curve[thread])
                value, at, fraction = _best_angle(
                    table, starts, lengths, turns, hand == 1, curve,
                    (threshold - tolerance) * deviations[lane],
                )  # fmt: skip
                if settled(value) > settled(score):
                    score, angle, offset, mirror = value, at, fraction, hand == 1
            if settled(score) >= settled(best):
                best, best_shift, best_angle, best_offset = score, i, angle, offset
                best_reference, best_mirror = k, mirror
    if best_shift < 0:
        best_shift = n_lanes // 2
    x, y = shift[0] + search.grid[best_shift, 0], shift[1] + search.grid[best_shift, 1]
    if search.refine and best_angle >= 0:
        row = best_reference * 2 * n_padded + (n_padded if best_mirror else 0)
        around = heights[row : row + n_padded]
        dx = _offset_along(0, best_shift, around, search)
        dy = _offset_along(1, best_shift, around, search)
        exact_rings(image, centre - x - dx, centre - y - dy, search, samples)
        unroll(samples, starts, lengths, best_mirror, turns)
        score, angle, offset = climb(
            tables[best_reference].reshape(n_rings * n_angles), n_angles, starts, lengths, turns,
            best_mirror, best_angle,
        )  # fmt: skip
        # A parabola through noise may point downhill: the grid position is then the better one.
        if score > best:
            best, best_angle, best_offset = score, angle, offset
            x, y = x + dx, y + dy
    result[0] = best_reference
    result[1] = (-360.0 * (best_angle + best_offset) / n_angles) % 360.0
    result[2], result[3] = x, y
    result[4] = 1.0 if best_mirror else 0.0
    result[5] = best


@njit(cache=True, nogil=True)
def _offset_along(axis, shift, heights, search):
    """Offset of the maximum from a grid shift along an axis, pixels; 0 at the border."""
    before, after = search.neighbours[shift, 2 * axis], search.neighbours[shift, 2 * axis + 1]
    if before < 0 or after < 0:
        return 0.0
    lane = search.lane_of_shift
    return search.step * _parabola_offset(
        heights[lane[before]], heights[lane[shift]], heights[lane[after]]
    )
