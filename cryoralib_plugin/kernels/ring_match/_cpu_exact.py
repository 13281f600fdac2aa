# SPDX-License-Identifier: GPL-3.0-or-later
"""Float64 comparison of single candidates with the whole spectrum, on the CPU."""

from __future__ import annotations

import numpy as np
from numba import njit

from cryoralib_plugin.kernels.polar.cpu import sample_image


@njit(cache=True, nogil=True)
def sample_and_normalise(image, x, y, positions, weights, normalise, samples):
    """Fill ``samples`` with the bilinear samples of an image about (x, y).

    ``weights`` (n_samples,) are areas in square pixels. With ``normalise`` the samples get
    area-weighted mean 0 and standard deviation 1; constant rings become zeros.
    """
    sample_image(image, x, y, positions, samples)
    if normalise:
        _normalise(samples, weights)


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract", "nsz"})
def _normalise(samples, weights):
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


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract", "nsz"})
def _ring_product(tables, row, first, stride, samples, begin, length):
    """Sum of a ring's samples times every ``stride``-th table entry from ``first``, around it."""
    total = 0.0
    n_angles = np.uintp(tables.shape[1])
    table, at, sample = tables[row], np.uintp(first), np.uintp(begin)
    if stride == 1:
        split = n_angles - at
        for n in range(split):
            total += table[at + n] * samples[sample + n]
        for n in range(at):
            total += table[n] * samples[sample + split + n]
    else:
        step, mask = np.uintp(stride), n_angles - np.uintp(1)
        for n in range(np.uintp(length)):
            total += table[(at + n * step) & mask] * samples[sample + n]
    return total


@njit(cache=True, nogil=True)
def correlation_at(tables, starts, lengths, samples, reversed_samples, mirror, angle):
    """Correlation of one reference (n_rings, n_angles) with the samples at one angle bin."""
    n_angles = tables.shape[1]
    source = reversed_samples if mirror else samples
    # g(-(theta + phi)) f(theta) summed over theta equals g(theta - phi) f(-theta).
    first = (n_angles - angle) % n_angles if mirror else angle
    total = 0.0
    for ring in range(lengths.shape[0]):
        total += _ring_product(
            tables, ring, first, n_angles // lengths[ring], source, starts[ring], lengths[ring]
        )
    return total


@njit(cache=True, nogil=True)
def reverse_rings(samples, starts, lengths, out):
    """Fill ``out`` with every ring run backwards about its first sample."""
    for ring in range(lengths.shape[0]):
        begin, length = starts[ring], lengths[ring]
        out[begin] = samples[begin]
        for n in range(1, length):
            out[begin + n] = samples[begin + length - n]


@njit(cache=True, nogil=True)
def climb(tables, starts, lengths, samples, reversed_samples, mirror, angle):
    """Walk from an angle bin to one that no other within three bins exceeds.

    Ties go to the later bin. Returns the height, the bin, and the offset of the maximum from
    that bin by the 7-point parabola (SPARX ``prb1d``), in bins.
    """
    n_angles = tables.shape[1]
    window, known = np.empty(7), np.zeros(7, np.bool_)
    for _ in range(n_angles):
        highest = 0
        for i in range(7):
            if not known[i]:
                window[i] = correlation_at(
                    tables,
                    starts,
                    lengths,
                    samples,
                    reversed_samples,
                    mirror,
                    (angle + i - 3) % n_angles,
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
