# SPDX-License-Identifier: GPL-3.0-or-later
"""Float64 comparison of single candidates with the whole spectrum, on the CPU."""

from __future__ import annotations

import numpy as np
from numba import njit

from cryoralib_plugin.kernels.polar.cpu import sample_image


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract", "nsz"})
def normalise_samples(samples, weights):
    """Give samples area-weighted mean 0 and standard deviation 1; constant ones become zeros.

    ``weights`` (n_samples,) are areas in square pixels.
    """
    total = mean = 0.0
    for i in range(samples.shape[0]):
        total += weights[i]
        mean += weights[i] * samples[i]
    mean /= total
    square = 0.0
    for i in range(samples.shape[0]):
        square += weights[i] * (samples[i] - mean) ** 2
    scale = 1.0 / np.sqrt(square / total) if square > 0.0 else 0.0
    for i in range(samples.shape[0]):
        samples[i] = (samples[i] - mean) * scale


@njit(cache=True, nogil=True)
def exact_rings(image, x, y, search, samples):
    """Fill ``samples`` with the rings about (x, y), normalised if asked for."""
    n_samples = search.positions.shape[1]
    sample_image(image, x, y, search.positions, samples[:n_samples])
    if search.normalise:
        normalise_samples(samples[:n_samples], search.weights)


@njit(cache=True, nogil=True)
def unroll(samples, starts, lengths, mirror, turns):
    """Write every ring twice over, backwards about its first sample for the mirrored hand.

    Any turn of the ring is then one stretch of ``turns``.
    """
    for ring in range(lengths.shape[0]):
        begin, length = np.uintp(starts[ring]), np.uintp(lengths[ring])
        once = begin + begin
        twice = once + length
        for n in range(length):
            turns[once + n] = samples[begin + (length - n if mirror and n > 0 else n)]
        for n in range(length):
            turns[twice + n] = turns[once + n]


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract", "nsz"})
def _inner_product(left, left_at, right, right_at, length):
    total = 0.0
    x, y = np.uintp(left_at), np.uintp(right_at)
    for n in range(np.uintp(length)):
        total += left[x + n] * right[y + n]
    return total


@njit(cache=True, nogil=True)
def correlation_at(table, n_angles, starts, lengths, turns, mirror, angle):
    """Correlation of one reference, its table flat, with unrolled samples at one angle bin."""
    # g(-(theta + phi)) f(theta) summed over theta equals g(theta - phi) f(-theta).
    first = (n_angles - angle) % n_angles if mirror else angle
    total = 0.0
    for ring in range(lengths.shape[0]):
        length = lengths[ring]
        step = n_angles // length
        row = ring * n_angles + first % step * length
        # Table entry m meets sample m - first // step.
        turned = 2 * starts[ring] + (length - first // step) % length
        total += _inner_product(table, row, turns, turned, length)
    return total


@njit(cache=True, nogil=True)
def climb(table, n_angles, starts, lengths, turns, mirror, angle):
    """Walk from an angle bin to one that no other within three bins exceeds.

    Ties go to the later bin. Returns the height, the bin, and the offset of the maximum from
    that bin by the 7-point parabola (SPARX ``prb1d``), in bins.
    """
    window, known = np.empty(7), np.zeros(7, np.bool_)
    for _ in range(n_angles):
        highest = 0
        for i in range(7):
            if not known[i]:
                window[i] = correlation_at(
                    table, n_angles, starts, lengths, turns, mirror, (angle + i - 3) % n_angles
                )
                known[i] = True
            if window[i] >= window[highest]:
                highest = i
        move = highest - 3
        # Going back to an equal earlier bin would never end, nor would a walk on a plain.
        if move == 0 or (move < 0 and window[highest] == window[3]) or np.ptp(window) == 0.0:
            break
        moved, kept = np.empty(7), np.zeros(7, np.bool_)
        for i in range(max(0, -move), min(7, 7 - move)):
            moved[i], kept[i] = window[i + move], True
        window, known = moved, kept
        angle = (angle + move) % n_angles
    numerator = denominator = 0.0
    for i in range(7):
        numerator += (i - 3) * window[i]
        denominator += ((i - 3) ** 2 - 4) * window[i]
    offset = -1.5 * numerator / denominator if denominator != 0.0 else 0.0
    return window[3], angle, offset
