# SPDX-License-Identifier: GPL-3.0-or-later
"""Ring spectra of one particle and the scale of its peak heights, on the CPU."""

from __future__ import annotations

import numpy as np
from numba import njit

from ._cpu_product import multiply
from ._cpu_rings import expand_columns, fold_rings, scatter_harmonics


@njit(cache=True, nogil=True)
def particle_spectra(image, shift, search, runs, operands, work, thread):
    """Fill the thread's ring spectra at all shifts, with ring means removed if asked for.

    Fills its ``deviations`` (n_lanes,) with the ring standard deviations, or ones, and returns the
    largest norm of the rings so scaled.
    """
    frame, expanded, four = work.frame[thread], work.expanded[thread], work.four[thread]
    folded, product, spectra = work.folded[thread], work.product[thread], work.spectra[thread]
    ring_squares = work.squares[thread]
    n_lanes, box, margin = search.lane_of_shift.shape[0], image.shape[0], runs.margin
    side = box + 2 * margin
    for row in range(box):
        at = (row + margin) * side + margin
        frame[at : at + box] = image[row]
    to = 0
    for width in runs.widths:
        expand_columns(frame, side, width, expanded, to)
        to += side * side * width
    x, y = box // 2 - shift[0] + margin, box // 2 - shift[1] + margin
    squares = np.zeros(n_lanes)
    position = 0
    for run in range(runs.lengths.shape[0]):
        n_rings, first, n_quarter = runs.counts[run], runs.first[run], runs.lengths[run] // 4 + 1
        quarter = runs.quarter[position : position + n_rings * n_quarter]
        position += n_rings * n_quarter
        fold_rings(
            expanded, side, x, y, quarter, n_rings, n_lanes, runs.tiles, runs.fractions, four,
            folded, ring_squares,
        )  # fmt: skip
        for ring in range(n_rings):
            for lane in range(n_lanes):
                squares[lane] += runs.weights[first + ring] * ring_squares[ring * n_lanes + lane]
        columns, matrix = n_rings * n_lanes, runs.matrix_starts[run]
        for form in range(4):
            rows, inner = runs.shapes[run, form, 0], runs.shapes[run, form, 1]
            operand = form * n_quarter * columns
            multiply(runs.matrices, matrix, inner, folded, operand, product, 0, rows, columns)
            matrix += rows * inner
            scatter_harmonics(
                product, rows, n_rings, form % 2, form // 2, first, operands.first_ring,
                operands.particle_starts, n_lanes, spectra,
            )  # fmt: skip
    if not search.normalise:
        work.deviations[thread] = 1.0
        return np.sqrt(squares.max())
    return _remove_means(squares, search, runs, spectra, work.deviations[thread])


@njit(cache=True, nogil=True)
def _remove_means(squares, search, runs, spectra, deviations):
    """Remove the area-weighted ring means; fill the deviations; return the norm they scale to."""
    n_lanes, area = squares.shape[0], 0.0
    for ring in range(runs.weights.shape[0]):
        area += runs.weights[ring] * search.lengths[ring]
    for lane in range(n_lanes):
        mean = 0.0
        for ring in range(runs.weights.shape[0]):
            mean += runs.weights[ring] * spectra[ring * 2 * n_lanes + lane]
        mean /= area
        for ring in range(runs.weights.shape[0]):
            spectra[ring * 2 * n_lanes + lane] -= np.float32(mean * search.lengths[ring])
        square = squares[lane] / area
        variance = square - mean * mean
        # Constant rings, which differ from zero by rounding only, match nothing.
        deviations[lane] = np.sqrt(variance) if variance > 1e-8 * square else np.inf
    return np.sqrt(area)


@njit(cache=True, nogil=True)
def scale_heights(shift, search, first, last, deviations, heights):
    """Divide heights by the ring deviations; forbid the mirrored hand and shifts off the frame."""
    n_lanes = search.lane_of_shift.shape[0]
    for i in range(n_lanes):
        lane = search.lane_of_shift[i]
        inside = True
        for axis in range(2):
            increment = search.grid[i, axis]
            if increment != 0.0 and abs(shift[axis] + increment) > search.room + 1e-6:
                inside = False
        for k in range(first, last):
            if inside:
                heights[k, lane] /= np.float32(deviations[lane])
                heights[k, n_lanes + lane] /= np.float32(deviations[lane])
            else:
                heights[k, lane] = -np.inf
            if not (inside and search.mirror):
                heights[k, n_lanes + lane] = -np.inf
