# SPDX-License-Identifier: GPL-3.0-or-later
"""From peak heights to the winner: exact comparison of all candidates rounding could confuse."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from ._cpu_exact import climb, reverse_rings, sample_and_normalise


@njit(cache=True, nogil=True)
def settled(score):
    """Return a score without its last bits, which the order of summation must not make decide."""
    if not np.isfinite(score):
        return score
    mantissa, exponent = math.frexp(score)
    return math.ldexp(np.rint(mantissa * 2.0**40), exponent - 40)


@njit(cache=True, nogil=True)
def _angle_curve(given, reference, spectra, n_lanes, lane, mirror, curve):
    """Fill ``curve`` (n_angles,) with the fast pass's correlation of one candidate."""
    n_harmonics, n_rings = given.first_ring.shape[0], given.tables.shape[1]
    real, imaginary = np.empty(n_harmonics, np.float32), np.empty(n_harmonics, np.float32)
    for k in range(n_harmonics):
        depth = n_rings - given.first_ring[k]
        left = given.starts[k] + 2 * reference * depth
        a = b = c = d = np.float32(0.0)
        for ring in range(depth):
            right = given.particle_starts[k] + ring * 2 * n_lanes + lane
            ref_real = given.spectra[left + ring]
            ref_imaginary = given.spectra[left + depth + ring]
            part_real, part_imaginary = spectra[right], spectra[right + n_lanes]
            a += ref_real * part_real
            b += ref_imaginary * part_imaginary
            c += ref_real * part_imaginary
            d += ref_imaginary * part_real
        real[k] = a - b if mirror else a + b
        imaginary[k] = -(c + d) if mirror else d - c
    cos_even, cos_odd, sin_even, sin_odd = (
        given.cos_even, given.cos_odd, given.sin_even, given.sin_odd,
    )  # fmt: skip
    quarter = cos_even.shape[0] - 1
    n_angles = 4 * quarter
    for j in range(quarter + 1):
        ce = co = se = so = np.float32(0.0)
        for i in range(cos_even.shape[1]):
            ce += cos_even[j, i] * real[2 * i]
            se += sin_even[j, i] * imaginary[2 * i]
        for i in range(cos_odd.shape[1]):
            co += cos_odd[j, i] * real[2 * i + 1]
            so += sin_odd[j, i] * imaginary[2 * i + 1]
        curve[j] = ce + co - se - so
        curve[(n_angles - j) % n_angles] = ce + co + se + so
        curve[2 * quarter - j] = ce - co + se - so
        curve[2 * quarter + j] = ce - co - se + so


@njit(cache=True, nogil=True)
def _best_angle(tables, starts, lengths, samples, reversed_samples, mirror, curve, threshold):
    """Highest exact peak among the curve's local maxima above a threshold: score, bin, offset."""
    best, best_angle, best_offset = -np.inf, -1, 0.0
    n_angles = curve.shape[0]
    for j in range(n_angles):
        # Of a plateau its last bin; a constant curve has one too.
        falls = j == n_angles - 1 or curve[j] > curve[j + 1]
        if curve[j] >= threshold and curve[j] >= curve[j - 1] and falls:
            score, angle, offset = climb(
                tables, starts, lengths, samples, reversed_samples, mirror, j
            )
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
    heights, deviations, spectra = (
        work.heights[thread],
        work.deviations[thread],
        work.spectra[thread],
    )
    samples, reversed_samples = work.samples[thread, 0], work.samples[thread, 1]
    curve = work.curve[thread]
    starts, lengths, tables = search.starts, search.lengths, given.tables
    n_lanes, centre = search.lane_of_shift.shape[0], image.shape[0] // 2
    threshold = heights[first:last].max() - 2.0 * tolerance
    best, best_shift, best_angle, best_offset = -np.inf, -1, 0, 0.0
    best_reference, best_mirror = first, False
    for i in range(n_lanes):
        lane = search.lane_of_shift[i]
        sampled = False
        for k in range(first, last):
            if max(heights[k, lane], heights[k, n_lanes + lane]) < threshold:
                continue
            if not sampled:
                x, y = centre - shift[0] - search.grid[i, 0], centre - shift[1] - search.grid[i, 1]
                _exact_rings(image, x, y, search, samples, reversed_samples)
                sampled = True
            score, angle, offset, mirror = -np.inf, -1, 0.0, False
            for hand in range(2):
                if heights[k, hand * n_lanes + lane] < threshold:
                    continue
                _angle_curve(given, k, spectra, n_lanes, lane, hand == 1, curve)
                value, at, fraction = _best_angle(
                    tables[k], starts, lengths, samples, reversed_samples, hand == 1, curve,
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
        row = (
            heights[best_reference, n_lanes:] if best_mirror else heights[best_reference, :n_lanes]
        )
        dx, dy = (
            _offset_along(0, best_shift, row, search),
            _offset_along(1, best_shift, row, search),
        )
        _exact_rings(image, centre - x - dx, centre - y - dy, search, samples, reversed_samples)
        score, angle, offset = climb(
            tables[best_reference], starts, lengths, samples, reversed_samples, best_mirror,
            best_angle,
        )  # fmt: skip
        # A parabola through noise may point downhill: the grid position is then the better one.
        if score > best:
            best, best_angle, best_offset = score, angle, offset
            x, y = x + dx, y + dy
    result[0] = best_reference
    result[1] = (-360.0 * (best_angle + best_offset) / tables.shape[2]) % 360.0
    result[2], result[3] = x, y
    result[4] = 1.0 if best_mirror else 0.0
    result[5] = best


@njit(cache=True, nogil=True)
def _exact_rings(image, x, y, search, samples, reversed_samples):
    """Fill the float64 rings about (x, y), forwards and backwards."""
    sample_and_normalise(image, x, y, search.positions, search.weights, search.normalise, samples)
    reverse_rings(samples, search.starts, search.lengths, reversed_samples)


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
