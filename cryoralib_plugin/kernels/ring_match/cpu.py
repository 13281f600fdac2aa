# SPDX-License-Identifier: GPL-3.0-or-later
"""CPU twin of ring matching: one particle at a time in each thread, all its work in the cache."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
from numba import njit

from cryoralib_plugin.geometry.rings import RingLayout
from cryoralib_plugin.kernels.polar.cpu import sample_positions

from ._cpu_heights import harmonic_products, inverse_matrices, peak_heights
from ._cpu_product import multiply
from ._cpu_rings import (
    dft_matrices,
    expand_columns,
    fold_rings,
    quarter_positions,
    scatter_harmonics,
)
from ._cpu_select import select_best
from .plan import MatchPlan
from .references import ReferenceRings

# Bytes of folded samples between sampling and the ring DFT: they should stay in the second-level
# cache of a core together with the spectra they become.
FOLDED_BYTES = 160 * 1024
# References whose harmonic products are held at a time.
REFERENCE_BLOCK = 8


def match_rings(
    images: np.ndarray,
    shift_px: np.ndarray,
    references: ReferenceRings,
    plan: MatchPlan,
    candidates: np.ndarray,
    per_reference: bool,
) -> tuple[np.ndarray, ...]:
    """See the package; returns the fields of Matches."""
    n_images, n_references = len(images), references.n_references
    n_results = n_references if per_reference else 1
    results = np.zeros((n_images, n_results, 6))
    scores = np.full((n_images, n_references), -np.inf, dtype=np.float32)
    widest = int((candidates[:, 1] - candidates[:, 0]).max(initial=1))
    search, rings, operands, work = _tables(references, plan, images.shape[-1], widest)
    images = np.ascontiguousarray(images, dtype=np.float32)
    reference = (references.spectra, references.starts, references.first_ring, references.tables)
    n_threads = len(work[2])

    def match_share(thread: int) -> None:
        _match_images(
            images, shift_px, candidates, per_reference, references.height_error, search, rings,
            operands, reference, work, thread, n_threads, results, scores,
        )

    with ThreadPoolExecutor(n_threads) as threads:
        list(threads.map(match_share, range(n_threads)))
    fields = (
        results[..., 0].astype(np.int32), results[..., 1], results[..., 2:4],
        results[..., 4] > 0.5, results[..., 5],
    )
    return (*(f if per_reference else f[:, 0] for f in fields), scores)


def _tables(references: ReferenceRings, plan: MatchPlan, box: int, widest: int):
    """Return everything the compiled loops read, grouped by the step that reads it."""
    layout = plan.rings
    n_lanes, n_harmonics = plan.n_shifts, references.n_harmonics
    lengths, first, counts = _ring_groups(layout, n_lanes)
    different, kind = np.unique(lengths, return_inverse=True)
    matrices = [dft_matrices(int(length), n_harmonics) for length in different]
    flat = np.concatenate([matrix.ravel() for group in matrices for matrix in group])
    shapes = np.array([[matrix.shape for matrix in group] for group in matrices], dtype=np.int64)
    entries = shapes.prod(axis=2).sum(axis=1)
    coefficients, shapes = (np.cumsum(entries) - entries)[kind], shapes[kind]
    fractions, boxes, lane_of_shift = plan.tiles
    margin = int(np.ceil(np.abs(plan.shift_grid_px).max())) + 2
    side = box + 2 * margin
    widths = np.unique(boxes[:, 2])
    expanded = np.concatenate(([0], np.cumsum(side * side * widths)))
    tiles = np.column_stack([boxes, expanded[np.searchsorted(widths, boxes[:, 2])]])
    search = (
        plan.shift_grid_px, lane_of_shift, plan.neighbours, plan.step_px,
        sample_positions(layout), np.repeat(layout.sample_weights, layout.lengths), layout.starts,
        layout.lengths, plan.normalise_rings, plan.refine_shift, plan.mirror,
        box // 2 - 1 - layout.outer_radius_px,
    )
    rings = (
        quarter_positions(layout), lengths, first, counts, flat, coefficients, shapes, fractions,
        tiles, widths,
    )
    depth = layout.n_rings - references.first_ring
    starts = np.concatenate(([0], np.cumsum(depth * 2 * n_lanes)))
    operands = (starts, inverse_matrices(layout.n_angles, n_harmonics), layout.sample_weights)
    folded = int((4 * (lengths // 4 + 1) * counts).max()) * n_lanes
    product = int((shapes[:, :, 0].max(axis=1) * counts).max()) * n_lanes
    sizes = (
        side * side, folded, product, int(starts[-1]),
        n_harmonics * min(widest, REFERENCE_BLOCK) * 4 * n_lanes,
        2 * (n_harmonics + 4) * 2 * n_lanes, int(expanded[-1]), 4 * n_lanes,
        int(counts.max()) * n_lanes,
    )
    # Every piece begins on a cache line.
    offsets = np.concatenate(([0], np.cumsum([-(-size // 16) * 16 for size in sizes])))
    scratch = np.zeros((numba.get_num_threads(), int(offsets[-1])), dtype=np.float32)
    heights = np.empty((len(scratch), references.n_references, 2 * n_lanes), dtype=np.float32)
    samples = np.empty((len(scratch), 2, layout.n_samples))
    return search, rings, operands, (margin, offsets.astype(np.int64), scratch, heights, samples)


def _ring_groups(layout: RingLayout, n_lanes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Split the rings into runs of one length whose folded samples fit the cache.

    Returns length, first ring and number of rings of each run.
    """
    groups = []
    for length in np.unique(layout.lengths):
        members = np.flatnonzero(layout.lengths == length)
        most = max(1, FOLDED_BYTES // (16 * (int(length) // 4 + 1) * n_lanes))
        groups += [(length, run[0], len(run)) for run in
                   np.array_split(members, -(-len(members) // most))]
    lengths, first, counts = np.array(groups, dtype=np.int64).T
    return lengths, first, counts


@njit(cache=True, nogil=True)
def _match_images(
    images, shifts, candidates, per_reference, height_error, search, rings, operands, reference,
    work, thread, n_threads, results, scores,
):
    """Match every ``n_threads``-th particle, beginning with the ``thread``-th."""
    for i in range(thread, images.shape[0], n_threads):
        _match_one(
            images[i], shifts[i], candidates[i, 0], candidates[i, 1], per_reference, height_error,
            search, rings, operands, reference, work, thread, results[i], scores[i],
        )


@njit(cache=True, nogil=True)
def _match_one(
    image, shift, first, last, per_reference, height_error, search, rings, operands, reference,
    work, thread, results, scores,
):
    """Spectra of one particle, peak heights with its references, and the exact winner."""
    offsets, heights, samples = work[1], work[3][thread], work[4][thread]
    scratch = work[2][thread]
    starts, matrices, ring_weights = operands
    n_lanes = search[1].shape[0]
    spectra = scratch[offsets[3] : offsets[4]]
    deviations = np.ones(n_lanes)
    norm = _particle_spectra(image, shift, search, rings, operands, reference, work[0], offsets,
                             scratch, spectra, deviations)
    products, flat_heights = scratch[offsets[4] : offsets[5]], heights.reshape(heights.size)
    for begin in range(first, last, REFERENCE_BLOCK):
        end = min(begin + REFERENCE_BLOCK, last)
        harmonic_products(
            reference[0], reference[1], reference[2], ring_weights.shape[0], begin, end, spectra,
            starts, n_lanes, products,
        )
        peak_heights(
            products, end - begin, n_lanes, matrices, scratch[offsets[5] : offsets[6]],
            flat_heights, begin * 2 * n_lanes,
        )
    _scale_heights(shift, search, first, last, deviations, heights)
    tolerance = height_error * norm
    curve = np.empty(reference[3].shape[2], np.float32)
    particle = (spectra, starts, matrices)
    for k in range(first, last):
        for i in range(2 * n_lanes):
            scores[k] = max(scores[k], heights[k, i])
        if per_reference:
            select_best(image, shift, k, k + 1, heights, tolerance, deviations, search, reference,
                        particle, samples[0], samples[1], curve, results[k])
    if not per_reference:
        select_best(image, shift, first, last, heights, tolerance, deviations, search, reference,
                    particle, samples[0], samples[1], curve, results[0])


@njit(cache=True, nogil=True)
def _particle_spectra(
    image, shift, search, rings, operands, reference, margin, offsets, scratch, spectra, deviations
):
    """Ring spectra at all shifts, with ring means removed if asked for.

    Fills ``deviations`` (n_lanes,) with the ring standard deviations, or ones, and returns the
    largest norm of the rings so scaled.
    """
    quarter, lengths, first, counts, flat, coefficients, shapes, fractions, tiles, widths = rings
    starts, _, ring_weights = operands
    first_ring = reference[2]
    n_lanes, box = deviations.shape[0], image.shape[0]
    side = box + 2 * margin
    for row in range(box):
        at = (row + margin) * side + margin
        scratch[at : at + box] = image[row]
    expanded, four = scratch[offsets[6] : offsets[7]], scratch[offsets[7] : offsets[8]]
    folded, product = scratch[offsets[1] : offsets[2]], scratch[offsets[2] : offsets[3]]
    ring_squares = scratch[offsets[8] : offsets[9]]
    to = 0
    for width in widths:
        expand_columns(scratch, side, width, expanded, to)
        to += side * side * width
    x, y = box // 2 - shift[0] + margin, box // 2 - shift[1] + margin
    squares = np.zeros(n_lanes)
    position = 0
    for group in range(lengths.shape[0]):
        n_rings, n_quarter = counts[group], lengths[group] // 4 + 1
        fold_rings(
            expanded, side, x, y, quarter[position : position + n_rings * n_quarter], n_rings,
            n_lanes, tiles, fractions, four, folded, ring_squares,
        )
        position += n_rings * n_quarter
        for ring in range(n_rings):
            for lane in range(n_lanes):
                squares[lane] += (
                    ring_weights[first[group] + ring] * ring_squares[ring * n_lanes + lane]
                )
        columns, coefficient = n_rings * n_lanes, coefficients[group]
        for form in range(4):
            rows, inner = shapes[group, form, 0], shapes[group, form, 1]
            multiply(
                flat, coefficient, inner, folded, form * n_quarter * columns, product, 0, rows,
                columns,
            )
            coefficient += rows * inner
            scatter_harmonics(
                product, rows, n_rings, form % 2, form // 2, first[group], first_ring, starts,
                n_lanes, spectra,
            )
    if not search[8]:
        return np.sqrt(squares.max())
    area = 0.0
    for ring in range(ring_weights.shape[0]):
        area += ring_weights[ring] * search[7][ring]
    for lane in range(n_lanes):
        mean = 0.0
        for ring in range(ring_weights.shape[0]):
            mean += ring_weights[ring] * spectra[ring * 2 * n_lanes + lane]
        mean /= area
        for ring in range(ring_weights.shape[0]):
            spectra[ring * 2 * n_lanes + lane] -= np.float32(mean * search[7][ring])
        square = squares[lane] / area
        variance = square - mean * mean
        # Constant rings, which differ from zero by rounding only, match nothing.
        deviations[lane] = np.sqrt(variance) if variance > 1e-8 * square else np.inf
    return np.sqrt(area)


@njit(cache=True, nogil=True)
def _scale_heights(shift, search, first, last, deviations, heights):
    """Divide heights by the ring deviations; forbid the mirrored hand and shifts off the frame."""
    grid, lane_of_shift, mirror, room = search[0], search[1], search[10], search[11]
    n_lanes = lane_of_shift.shape[0]
    for i in range(n_lanes):
        lane = lane_of_shift[i]
        inside = True
        for axis in range(2):
            increment = grid[i, axis]
            if increment != 0.0 and abs(shift[axis] + increment) > room + 1e-6:
                inside = False
        for k in range(first, last):
            if inside:
                heights[k, lane] /= np.float32(deviations[lane])
                heights[k, n_lanes + lane] /= np.float32(deviations[lane])
            else:
                heights[k, lane] = -np.inf
            if not (inside and mirror):
                heights[k, n_lanes + lane] = -np.inf
