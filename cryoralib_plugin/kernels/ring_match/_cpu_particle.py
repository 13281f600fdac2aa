# SPDX-License-Identifier: GPL-3.0-or-later
"""Ring spectra of one particle and the scale of its peak heights, on the CPU."""

from __future__ import annotations

import numpy as np
from numba import njit

from cryoralib_plugin.kernels._lanes import N_LANES, larger, load, spread, store

from ._cpu_product import multiply
from ._cpu_rings import expand_columns, fold_rings, scatter_harmonics


@njit(cache=True, nogil=True)
def particle_spectra(image, shift, search, runs, operands, work, thread):
    """Fill the thread's ring spectra at all shifts, with ring means removed if asked for.

    Fills its ``deviations`` (n_lanes,) with the ring standard deviations, or ones, and returns the
    largest norm of the rings so scaled.
    """
    expanded, folded, product = work.expanded[thread], work.folded[thread], work.product[thread]
    spectra, places, shares = work.spectra[thread], work.places[thread], work.shares[thread]
    n_lanes, side = search.lane_of_shift.shape[0], image.shape[0] + 2 * runs.margin
    x = image.shape[1] // 2 - shift[0] + runs.margin
    y = image.shape[0] // 2 - shift[1] + runs.margin
    _expand(image, x, y, runs, work.frame[thread], expanded)
    squares = np.zeros(n_lanes)
    for run in range(runs.lengths.shape[0]):
        n_rings, first, n_quarter = runs.counts[run], runs.first[run], runs.lengths[run] // 4 + 1
        columns = max(n_rings * n_lanes, N_LANES)
        form_stride = n_quarter * columns + 2 * N_LANES
        ring_squares = work.squares[thread, : n_rings * runs.n_padded]
        fold_rings(
            expanded, side, x, y, runs, run, n_lanes, places, shares, folded, columns, form_stride,
            ring_squares,
        )  # fmt: skip
        for ring in range(n_rings):
            weight = runs.weights[first + ring]
            for lane in range(n_lanes):
                square = ring_squares[ring * runs.n_padded + runs.padded_lanes[lane]]
                squares[lane] += weight * square
        matrix = runs.matrix_starts[run]
        for form in range(4):
            rows, inner = runs.shapes[run, form, 0], runs.shapes[run, form, 1]
            multiply(
                runs.matrices, matrix, inner, folded, form * form_stride, product, 0, rows, columns
            )
            matrix += rows * inner
            scatter_harmonics(
                product, columns, rows, n_rings, form % 2, form // 2, first, operands.first_ring,
                operands.particle_starts, n_lanes, spectra,
            )  # fmt: skip
    if not search.normalise:
        work.deviations[thread] = 1.0
        return np.sqrt(squares.max())
    return _remove_means(squares, search, runs, operands, spectra, work.deviations[thread])


@njit(cache=True, nogil=True)
def _expand(image, x, y, runs, frame, expanded):
    """Copy the image into a frame of zeros, and what its rings can reach of it to every width."""
    box, side = image.shape[0], image.shape[0] + 2 * runs.margin
    for row in range(box):
        at = (row + runs.margin) * side + runs.margin
        for column in range(box):
            frame[np.uintp(at + column)] = image[np.uintp(row), np.uintp(column)]
    left, top = int(x) - runs.reach, int(y) - runs.reach
    right, bottom = min(left + 2 * runs.reach + 2, side), min(top + 2 * runs.reach + 2, side)
    to = 0
    for width in runs.widths:
        columns, rows = (max(left, 0), min(right, side - width)), (max(top, 0), bottom)
        expand_columns(frame, side, width, columns, rows, expanded, to)
        to += side * side * width


@njit(cache=True, nogil=True)
def _remove_means(squares, search, runs, operands, spectra, deviations):
    """Remove the area-weighted ring means; fill the deviations; return the norm they scale to."""
    n_lanes, area = squares.shape[0], 0.0
    block_stride = operands.particle_starts[-1]
    for ring in range(runs.weights.shape[0]):
        area += runs.weights[ring] * search.lengths[ring]
    for lane in range(n_lanes):
        at = lane // N_LANES * block_stride + lane % N_LANES
        mean = 0.0
        for ring in range(runs.weights.shape[0]):
            mean += runs.weights[ring] * spectra[at + ring * 2 * N_LANES]
        mean /= area
        for ring in range(runs.weights.shape[0]):
            spectra[at + ring * 2 * N_LANES] -= np.float32(mean * search.lengths[ring])
        square = squares[lane] / area
        variance = square - mean * mean
        # Constant rings, which differ from zero by rounding only, match nothing.
        deviations[lane] = np.sqrt(variance) if variance > 1e-8 * square else np.inf
    return np.sqrt(area)


@njit(cache=True, nogil=True)
def scale_heights(shift, search, first, last, work, thread):
    """Divide heights by the ring deviations; forbid the mirrored hand and shifts off the frame.

    Fills the thread's ``highest`` (n_references,) with the best height of each reference.
    """
    heights, highest = work.heights[thread], work.highest[thread]
    deviations = work.deviations[thread]
    n_lanes = search.lane_of_shift.shape[0]
    n_padded = -(-n_lanes // N_LANES) * N_LANES
    # Straight lanes, then mirrored ones: a height times its scale plus its chance, 0 or -inf.
    scale, chance = work.scale[thread], work.chance[thread]
    scale[: 2 * n_padded], chance[: 2 * n_padded] = 0.0, -np.inf
    for i in range(n_lanes):
        lane, inside = search.lane_of_shift[i], True
        for axis in range(2):
            increment = search.grid[i, axis]
            if increment != 0.0 and abs(shift[axis] + increment) > search.room + 1e-6:
                inside = False
        for hand in range(2 if search.mirror else 1):
            if inside:
                scale[hand * n_padded + lane] = 1.0 / deviations[lane]
                chance[hand * n_padded + lane] = 0.0
    best = np.empty(N_LANES, np.float32)
    for k in range(first, last):
        row = np.uintp(k * 2 * n_padded)
        top = spread(np.float32(-np.inf))
        for i in range(np.uintp(0), np.uintp(2 * n_padded), np.uintp(N_LANES)):
            height = load(heights, row + i) * load(scale, i) + load(chance, i)
            store(heights, row + i, height)
            top = larger(height, top)
        store(best, 0, top)
        highest[k] = best.max()
