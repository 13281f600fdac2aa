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
def _angle_curve(
    reference_spectra, reference_starts, first_ring, n_rings, reference, spectra, starts, n_lanes,
    lane, mirror, matrices, curve,
):
    """Fill ``curve`` (n_angles,) with the fast pass's correlation of one candidate."""
    cos_even, cos_odd, sin_even, sin_odd = matrices
    n_harmonics = first_ring.shape[0]
    real, imaginary = np.empty(n_harmonics, np.float32), np.empty(n_harmonics, np.float32)
    for k in range(n_harmonics):
        depth = n_rings - first_ring[k]
        left = reference_starts[k] + 2 * reference * depth
        a = b = c = d = np.float32(0.0)
        for ring in range(depth):
            right = starts[k] + ring * 2 * n_lanes + lane
            ref_real = reference_spectra[left + ring]
            ref_imaginary = reference_spectra[left + depth + ring]
            part_real, part_imaginary = spectra[right], spectra[right + n_lanes]
            a += ref_real * part_real
            b += ref_imaginary * part_imaginary
            c += ref_real * part_imaginary
            d += ref_imaginary * part_real
        real[k] = a - b if mirror else a + b
        imaginary[k] = -(c + d) if mirror else d - c
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
def select_best(
    image, shift, first, last, heights, tolerance, deviations, search, reference, particle,
    samples, reversed_samples, curve, result,
):
    """Fill ``result`` with the exact winner among references ``first`` .. ``last - 1``.

    ``heights`` (n_references, 2 * n_lanes) are the normalised peak heights of all references,
    wrong by at most ``tolerance``; ``deviations`` (n_lanes,) turn them back to the scale of the
    spectra. ``result`` receives reference, psi (degrees), shift x, shift y (pixels), mirror, score.
    """
    (
        grid, lane_of_shift, neighbours, step, positions, weights, ring_starts, lengths,
        normalise, refine, _, _,
    ) = search
    reference_spectra, reference_starts, first_ring, tables = reference
    spectra, starts, matrices = particle
    n_lanes, n_angles = lane_of_shift.shape[0], tables.shape[2]
    centre = image.shape[0] // 2
    threshold = -np.inf
    for k in range(first, last):
        for i in range(2 * n_lanes):
            threshold = max(threshold, heights[k, i])
    threshold -= 2.0 * tolerance
    best, best_shift, best_angle, best_offset = -np.inf, -1, 0, 0.0
    best_reference, best_mirror = first, False
    for i in range(n_lanes):
        lane = lane_of_shift[i]
        sampled = False
        for k in range(first, last):
            if max(heights[k, lane], heights[k, n_lanes + lane]) < threshold:
                continue
            if not sampled:
                sample_and_normalise(
                    image, centre - shift[0] - grid[i, 0], centre - shift[1] - grid[i, 1],
                    positions, weights, normalise, samples,
                )
                reverse_rings(samples, ring_starts, lengths, reversed_samples)
                sampled = True
            score, angle, offset, mirror = -np.inf, -1, 0.0, False
            for hand in range(2):
                if heights[k, hand * n_lanes + lane] < threshold:
                    continue
                _angle_curve(
                    reference_spectra, reference_starts, first_ring, lengths.shape[0], k, spectra,
                    starts, n_lanes, lane, hand == 1, matrices, curve,
                )
                value, at, fraction = _best_angle(
                    tables[k], ring_starts, lengths, samples, reversed_samples, hand == 1, curve,
                    (threshold - tolerance) * deviations[lane],
                )
                if settled(value) > settled(score):
                    score, angle, offset, mirror = value, at, fraction, hand == 1
            if settled(score) >= settled(best):
                best, best_shift, best_angle, best_offset = score, i, angle, offset
                best_reference, best_mirror = k, mirror
    if best_shift < 0:
        best_shift = n_lanes // 2
    shift_x, shift_y = shift[0] + grid[best_shift, 0], shift[1] + grid[best_shift, 1]
    if refine and best_angle >= 0:
        side = n_lanes if best_mirror else 0
        row = heights[best_reference]
        moved = np.zeros(2)
        for axis in range(2):
            before, after = neighbours[best_shift, 2 * axis], neighbours[best_shift, 2 * axis + 1]
            if before >= 0 and after >= 0:
                moved[axis] = step * _parabola_offset(
                    row[side + lane_of_shift[before]], row[side + lane_of_shift[best_shift]],
                    row[side + lane_of_shift[after]],
                )
        sample_and_normalise(
            image, centre - shift_x - moved[0], centre - shift_y - moved[1], positions, weights,
            normalise, samples,
        )
        reverse_rings(samples, ring_starts, lengths, reversed_samples)
        score, angle, offset = climb(
            tables[best_reference], ring_starts, lengths, samples, reversed_samples, best_mirror,
            best_angle,
        )
        # A parabola through noise may point downhill: the grid position is then the better one.
        if score > best:
            best, best_angle, best_offset = score, angle, offset
            shift_x, shift_y = shift_x + moved[0], shift_y + moved[1]
    result[0] = best_reference
    result[1] = (-360.0 * (best_angle + best_offset) / n_angles) % 360.0
    result[2], result[3] = shift_x, shift_y
    result[4] = 1.0 if best_mirror else 0.0
    result[5] = best
