# SPDX-License-Identifier: GPL-3.0-or-later
"""What the compiled loops of the CPU twin read, made once for a batch, and their work space."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from cryoralib_plugin.geometry.rings import RingLayout
from cryoralib_plugin.kernels.polar.cpu import sample_positions

from ._cpu_heights import inverse_matrices
from ._cpu_rings import dft_matrices, quarter_positions
from .plan import MatchPlan
from .references import ReferenceRings

# Bytes of folded samples between sampling and the ring DFT: they should stay in the second-level
# cache of a core together with the spectra they become.
FOLDED_BYTES = 160 * 1024
# References whose harmonic products are held at a time.
REFERENCE_BLOCK = 8
# Room between what two threads write: lines that both write travel from core to core each time.
_APART_BYTES = 128


class Search(NamedTuple):
    """Shifts and hands, and the rings at full length for exact comparisons."""

    grid: np.ndarray
    lane_of_shift: np.ndarray
    neighbours: np.ndarray
    step: float
    positions: np.ndarray
    weights: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray
    normalise: bool
    refine: bool
    mirror: bool
    room: int


class RingRuns(NamedTuple):
    """Runs of rings of one length: sample positions, DFT matrices, and the tiles of shifts.

    ``matrices`` is flat; those of a run begin at its entry of ``matrix_starts``, their shapes are
    (n_runs, 4, 2). ``tiles`` are the rows of `MatchPlan.tiles` and where the expanded image of
    that tile's width begins.
    """

    quarter: np.ndarray
    lengths: np.ndarray
    first: np.ndarray
    counts: np.ndarray
    weights: np.ndarray
    matrices: np.ndarray
    matrix_starts: np.ndarray
    shapes: np.ndarray
    fractions: np.ndarray
    tiles: np.ndarray
    widths: np.ndarray
    margin: int


class Operands(NamedTuple):
    """Reference spectra and tables, where a particle's spectra begin, and the inverse DFT."""

    spectra: np.ndarray
    starts: np.ndarray
    first_ring: np.ndarray
    tables: np.ndarray
    particle_starts: np.ndarray
    cos_even: np.ndarray
    cos_odd: np.ndarray
    sin_even: np.ndarray
    sin_odd: np.ndarray
    height_error: float


class Work(NamedTuple):
    """Work space; the first axis of every array is the thread."""

    frame: np.ndarray
    expanded: np.ndarray
    four: np.ndarray
    folded: np.ndarray
    squares: np.ndarray
    product: np.ndarray
    spectra: np.ndarray
    products: np.ndarray
    inverse: np.ndarray
    heights: np.ndarray
    deviations: np.ndarray
    samples: np.ndarray
    curve: np.ndarray


def search_tables(plan: MatchPlan, box_size_px: int) -> Search:
    """Return the search of a plan in a box."""
    rings = plan.rings
    return Search(
        grid=plan.shift_grid_px,
        lane_of_shift=plan.tiles[2],
        neighbours=plan.neighbours,
        step=plan.step_px,
        positions=sample_positions(rings),
        weights=np.repeat(rings.sample_weights, rings.lengths),
        starts=rings.starts,
        lengths=rings.lengths,
        normalise=plan.normalise_rings,
        refine=plan.refine_shift,
        mirror=plan.mirror,
        room=box_size_px // 2 - 1 - rings.outer_radius_px,
    )


def ring_runs(plan: MatchPlan, box_size_px: int, n_harmonics: int) -> RingRuns:
    """Return the rings as the sampling and the DFT walk through them."""
    lengths, first, counts = _runs(plan.rings, plan.n_shifts)
    different, kind = np.unique(lengths, return_inverse=True)
    matrices = [dft_matrices(int(length), n_harmonics) for length in different]
    shapes = np.array([[matrix.shape for matrix in group] for group in matrices], dtype=np.int64)
    entries = shapes.prod(axis=2).sum(axis=1)
    fractions, boxes, _ = plan.tiles
    margin = int(np.ceil(np.abs(plan.shift_grid_px).max())) + 2
    widths = np.unique(boxes[:, 2])
    expanded = np.cumsum((box_size_px + 2 * margin) ** 2 * widths)
    begin = np.concatenate(([0], expanded[:-1]))
    return RingRuns(
        quarter=quarter_positions(plan.rings),
        lengths=lengths,
        first=first,
        counts=counts,
        weights=plan.rings.sample_weights,
        matrices=np.concatenate([matrix.ravel() for group in matrices for matrix in group]),
        matrix_starts=(np.cumsum(entries) - entries)[kind],
        shapes=shapes[kind],
        fractions=fractions,
        tiles=np.column_stack([boxes, begin[np.searchsorted(widths, boxes[:, 2])]]),
        widths=widths,
        margin=margin,
    )


def _runs(rings: RingLayout, n_lanes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Split the rings into runs of one length whose folded samples fit the cache.

    Returns length, first ring and number of rings of each run.
    """
    runs = []
    for length in np.unique(rings.lengths):
        members = np.flatnonzero(rings.lengths == length)
        most = max(1, FOLDED_BYTES // (16 * (int(length) // 4 + 1) * n_lanes))
        parts = np.array_split(members, -(-len(members) // most))
        runs += [(length, part[0], len(part)) for part in parts]
    lengths, first, counts = np.array(runs, dtype=np.int64).T
    return lengths, first, counts


def operands(references: ReferenceRings, plan: MatchPlan) -> Operands:
    """Return what the products of one batch read."""
    rings = plan.rings
    depth = rings.n_rings - references.first_ring
    return Operands(
        references.spectra,
        references.starts,
        references.first_ring,
        references.tables,
        np.concatenate(([0], np.cumsum(depth * 2 * plan.n_shifts))),
        *inverse_matrices(rings.n_angles, references.n_harmonics),
        height_error=references.height_error,
    )


def work_space(
    plan: MatchPlan, runs: RingRuns, given: Operands, box_size_px: int, widest: int, n_threads: int
) -> Work:
    """Return work space for particles of a box and up to ``widest`` references each."""
    n_lanes, n_harmonics = plan.n_shifts, len(given.first_ring)
    n_references, _, n_angles = given.tables.shape
    side = box_size_px + 2 * runs.margin
    most = int(runs.counts.max())
    n_rows = int((runs.shapes[:, :, 0].max(axis=1) * runs.counts).max())

    def floats(size: int) -> np.ndarray:
        # Whole steps, so that every share begins where a vector register may.
        step = _APART_BYTES // 4
        return np.zeros((n_threads, (-(-size // step) + 1) * step), dtype=np.float32)

    rows_apart = -(-_APART_BYTES // (8 * n_lanes))
    return Work(
        frame=floats(side * side),
        expanded=floats(side * side * int(runs.widths.sum())),
        four=floats(4 * n_lanes),
        folded=floats(4 * int(((runs.lengths // 4 + 1) * runs.counts).max()) * n_lanes),
        squares=floats(most * n_lanes),
        product=floats(n_rows * n_lanes),
        spectra=floats(int(given.particle_starts[-1])),
        products=floats(n_harmonics * min(widest, REFERENCE_BLOCK) * 4 * n_lanes),
        inverse=floats(2 * (n_harmonics + 4) * 2 * n_lanes),
        heights=np.empty((n_threads, n_references + rows_apart, 2 * n_lanes), dtype=np.float32),
        deviations=np.empty((n_threads, n_lanes + _APART_BYTES // 8)),
        samples=np.empty((n_threads, 2, plan.rings.n_samples)),
        curve=np.empty((n_threads, n_angles), dtype=np.float32),
    )
