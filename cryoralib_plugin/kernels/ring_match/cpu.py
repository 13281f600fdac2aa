# SPDX-License-Identifier: GPL-3.0-or-later
"""CPU twin of ring matching: one particle at a time in each thread, all its work in the cache."""

from __future__ import annotations

import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numba
import numpy as np
from numba import njit

from cryoralib_plugin.kernels._lanes import N_LANES

from ._cpu_heights import harmonic_products, peak_heights
from ._cpu_particle import particle_spectra, scale_heights
from ._cpu_select import select_best
from ._cpu_tables import (
    REFERENCE_BLOCK,
    Operands,
    RingRuns,
    Search,
    Work,
    operands,
    ring_runs,
    search_tables,
    work_space,
)
from .plan import MatchPlan
from .references import ReferenceRings


@dataclass(frozen=True)
class _Prepared:
    """What the batches of one search share."""

    references: weakref.ref[ReferenceRings]
    plan: MatchPlan
    box_size_px: int
    n_threads: int
    tables: tuple[Search, RingRuns, Operands, Work]


# The last search, its constants and its work space: making them takes as long as matching some
# dozen particles. Whoever works takes them out, so that no two share work space; they go when the
# references do.
_recent: list[_Prepared] = []


def match_rings(
    images: np.ndarray,
    shift_px: np.ndarray,
    references: ReferenceRings,
    plan: MatchPlan,
    candidates: np.ndarray,
    per_reference: bool,
) -> tuple[np.ndarray, ...]:
    """See the package; returns the fields of Matches."""
    n_references = references.n_references
    results = np.zeros((len(images), n_references if per_reference else 1, 6))
    scores = np.full((len(images), n_references), -np.inf, dtype=np.float32)
    images = np.ascontiguousarray(images, dtype=np.float32)
    prepared = _prepared(references, plan, images.shape[-1])
    # Threads take their shares from one iterator, which hands out each of them once.
    shares = iter(_shares(len(images), prepared.n_threads))

    def match_shares(thread: int) -> None:
        for part in shares:
            _match_share(
                images[part], shift_px[part], candidates[part], per_reference, *prepared.tables,
                thread, results[part], scores[part],
            )  # fmt: skip

    with ThreadPoolExecutor(prepared.n_threads) as threads:
        list(threads.map(match_shares, range(prepared.n_threads)))
    _recent[:] = [prepared]
    fields = (
        results[..., 0].astype(np.int32),
        results[..., 1],
        results[..., 2:4],
        results[..., 4] > 0.5,
        results[..., 5],
    )
    return (*(f if per_reference else f[:, 0] for f in fields), scores)


def _shares(n_images: int, n_threads: int) -> list[slice]:
    """Divide particles into shares that become smaller, so that no thread waits for another."""
    shares, first = [], 0
    while first < n_images:
        size = max(1, (n_images - first) // (2 * n_threads))
        shares.append(slice(first, first + size))
        first += size
    return shares


def _prepared(references: ReferenceRings, plan: MatchPlan, box_size_px: int) -> _Prepared:
    """Return what a search reads and writes: that of the last call, if it was the same search."""
    n_threads = numba.get_num_threads()
    for recent in [_recent.pop()] if _recent else []:
        if (
            recent.references() is references
            and recent.plan is plan
            and (recent.box_size_px, recent.n_threads) == (box_size_px, n_threads)
        ):
            return recent
    given, runs = operands(references, plan), ring_runs(plan, box_size_px, references.n_harmonics)
    work = work_space(plan, runs, given, box_size_px, n_threads)
    return _Prepared(
        weakref.ref(references, lambda _: _recent.clear()),
        plan,
        box_size_px,
        n_threads,
        (search_tables(plan, box_size_px), runs, given, work),
    )


@njit(cache=True, nogil=True)
def _match_share(
    images, shifts, candidates, per_reference, search, runs, given, work, thread, results, scores
):
    """Match some particles in the work space of one thread."""
    highest = work.highest[thread]
    for i in range(images.shape[0]):
        first, last = candidates[i, 0], candidates[i, 1]
        tolerance = _find_heights(images[i], shifts[i], first, last, search, runs, given, work,
                                  thread)  # fmt: skip
        for k in range(first, last):
            scores[i, k] = highest[k]
            if per_reference:
                select_best(images[i], shifts[i], k, k + 1, tolerance, search, given, work, thread,
                            results[i, k])  # fmt: skip
        if not per_reference:
            select_best(images[i], shifts[i], first, last, tolerance, search, given, work, thread,
                        results[i, 0])  # fmt: skip


@njit(cache=True, nogil=True)
def _find_heights(image, shift, first, last, search, runs, given, work, thread):
    """Fill the thread's peak heights with references ``first`` .. ``last - 1``; their error."""
    norm = particle_spectra(image, shift, search, runs, given, work, thread)
    heights, spectra, products = work.heights[thread], work.spectra[thread], work.products[thread]
    n_blocks = -(-search.lane_of_shift.shape[0] // N_LANES)
    for begin in range(first, last, REFERENCE_BLOCK):
        end = min(begin + REFERENCE_BLOCK, last)
        for block in range(n_blocks):
            harmonic_products(
                given, begin, end, spectra, block * given.particle_starts[-1], products
            )
            peak_heights(
                products, end - begin, given, work.inverse[thread], heights,
                (begin * 2 * n_blocks + block) * N_LANES, n_blocks * N_LANES,
            )  # fmt: skip
    scale_heights(shift, search, first, last, work, thread)
    return given.height_error * norm
