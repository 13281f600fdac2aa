# SPDX-License-Identifier: GPL-3.0-or-later
"""What the compiled loops of the CPU twin read, made once for a batch, and their work space."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from cryoralib_plugin.geometry.rings import RingLayout
from cryoralib_plugin.kernels._lanes import N_LANES
from cryoralib_plugin.kernels.polar.cpu import sample_positions

from ._cpu_heights import inverse_matrices
from ._cpu_rings import dft_matrices, quarter_positions
from .plan import MatchPlan
from .references import ReferenceRings

# Bytes of folded samples between sampling and the ring DFT: they should stay in the second-level
# cache of a core together with the spectra they become.
FOLDED_BYTES = 160 * 1024
# References whose harmonic products are held at a time.
REFERENCE_BLOCK = 16
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
    (n_runs, 4, 2). ``tiles`` are the rows of `MatchPlan.tiles`, where the expanded image of that
    tile's width begins, and its first lane if each tile has whole blocks of lanes; in that count
    lane i is ``padded_lanes[i]`` of ``n_padded``. Nothing beyond ``reach`` pixels is sampled.
    """

    quarter: np.ndarray
    quarter_starts: np.ndarray
    lengths: np.ndarray
    first: np.ndarray
    counts: np.ndarray
    weights: np.ndarray
    matrices: np.ndarray
    matrix_starts: np.ndarray
    shapes: np.ndarray
    fractions: np.ndarray
    tiles: np.ndarray
    padded_lanes: np.ndarray
    n_padded: int
    widths: np.ndarray
    margin: int
    reach: int


class Operands(NamedTuple):
    """Reference spectra and tables, where a particle's spectra begin, and the inverse DFT.

    ``curve_matrices`` are the inverse matrices transposed, flat one after another, their rows
    padded to whole blocks of lanes.
    """

    spectra: np.ndarray
    starts: np.ndarray
    first_ring: np.ndarray
    tables: np.ndarray
    particle_starts: np.ndarray
    cos_even: np.ndarray
    cos_odd: np.ndarray
    sin_even: np.ndarray
    sin_odd: np.ndarray
    curve_matrices: np.ndarray
    height_error: float


class Work(NamedTuple):
    """Work space; the first axis of every array is the thread."""

    frame: np.ndarray
    expanded: np.ndarray
    places: np.ndarray
    shares: np.ndarray
    folded: np.ndarray
    squares: np.ndarray
    product: np.ndarray
    spectra: np.ndarray
    products: np.ndarray
    inverse: np.ndarray
    heights: np.ndarray
    highest: np.ndarray
    scale: np.ndarray
    chance: np.ndarray
    deviations: np.ndarray
    samples: np.ndarray
    turns: np.ndarray
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
    quarter = [quarter_positions(plan.rings, *run) for run in zip(first, counts)]
    sizes = [positions.size for positions in quarter]
    fractions, boxes, _ = plan.tiles
    margin = int(np.ceil(np.abs(plan.shift_grid_px).max())) + 2
    widths = np.unique(boxes[:, 2])
    expanded = np.cumsum((box_size_px + 2 * margin) ** 2 * widths)
    begin = np.concatenate(([0], expanded[:-1]))
    tile_lanes = boxes[:, 2] * boxes[:, 3]
    padded = np.cumsum(_whole_blocks(tile_lanes))
    first_padded = padded - _whole_blocks(tile_lanes)
    return RingRuns(
        quarter=np.concatenate([positions.ravel() for positions in quarter]),
        quarter_starts=np.cumsum(sizes) - sizes,
        lengths=lengths,
        first=first,
        counts=counts,
        weights=plan.rings.sample_weights,
        matrices=np.concatenate([matrix.ravel() for group in matrices for matrix in group]),
        matrix_starts=(np.cumsum(entries) - entries)[kind],
        shapes=shapes[kind],
        fractions=fractions,
        tiles=np.column_stack([boxes, begin[np.searchsorted(widths, boxes[:, 2])], first_padded]),
        padded_lanes=np.concatenate(
            [first + np.arange(count) for first, count in zip(first_padded, tile_lanes)]
        ),
        n_padded=int(padded[-1]),
        widths=widths,
        margin=margin,
        reach=plan.rings.outer_radius_px + margin,
    )


def _whole_blocks(n_lanes: Any) -> Any:
    """Round numbers of lanes up to whole blocks."""
    return -(-n_lanes // N_LANES) * N_LANES


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
    inverse = inverse_matrices(rings.n_angles, references.n_harmonics)
    n_rows = len(inverse[0])
    transposed = [
        np.pad(matrix.T, ((0, 0), (0, _whole_blocks(n_rows) - n_rows))) for matrix in inverse
    ]
    return Operands(
        references.spectra,
        references.starts,
        references.first_ring,
        references.tables,
        np.concatenate(([0], np.cumsum(depth * 2 * N_LANES))),
        inverse[0],
        inverse[1],
        inverse[2],
        inverse[3],
        curve_matrices=np.concatenate([matrix.ravel() for matrix in transposed]),
        height_error=references.height_error,
    )


def work_space(
    plan: MatchPlan, runs: RingRuns, given: Operands, box_size_px: int, n_threads: int
) -> Work:
    """Return work space for particles of a box."""
    n_lanes, n_harmonics = plan.n_shifts, len(given.first_ring)
    n_references, _, n_angles = given.tables.shape
    n_padded = _whole_blocks(n_lanes)
    side = box_size_px + 2 * runs.margin
    n_quads = (runs.lengths // 4 + 1) * runs.counts
    columns = np.maximum(runs.counts * n_lanes, N_LANES)
    n_placed = 4 * int(n_quads.max()) * len(runs.tiles)

    def room(size: int, dtype: type = np.float32) -> np.ndarray:
        return _apart(n_threads, size + 2 * N_LANES, dtype)

    return Work(
        frame=room(side * side),
        expanded=room(side * side * int(runs.widths.sum())),
        places=room(n_placed, np.int32),
        shares=room(2 * n_placed),
        folded=room(4 * int(((runs.lengths // 4 + 1) * columns).max() + 2 * N_LANES)),
        squares=room(int(runs.counts.max()) * runs.n_padded),
        product=room(int((runs.shapes[:, :, 0].max(axis=1) * columns).max())),
        spectra=room(int(given.particle_starts[-1]) * n_padded // N_LANES),
        products=room(n_harmonics * min(n_references, REFERENCE_BLOCK) * 4 * N_LANES),
        inverse=room(2 * N_LANES * (2 * n_harmonics + 4 * (n_angles // 4 + 1))),
        heights=room(n_references * 2 * n_padded),
        highest=room(n_references),
        scale=room(2 * n_padded),
        chance=room(2 * n_padded),
        deviations=room(n_lanes, np.float64),
        samples=room(plan.rings.n_samples, np.float64),
        turns=room(2 * plan.rings.n_samples, np.float64),
        curve=room(n_angles + 2 * n_harmonics + 4 * _whole_blocks(n_angles // 4 + 1)),
    )


def _apart(n_threads: int, size: int, dtype: type) -> np.ndarray:
    """Return zeros, a row for each thread, that begin on lines of the cache of their own."""
    itemsize = np.dtype(dtype).itemsize
    step = _APART_BYTES // itemsize
    length = (-(-size // step) + 1) * step
    memory: np.ndarray = np.zeros(n_threads * length + step, dtype)
    skipped = -memory.ctypes.data % _APART_BYTES // itemsize
    return memory[skipped : skipped + n_threads * length].reshape(n_threads, length)
