# SPDX-License-Identifier: GPL-3.0-or-later
"""CPU twin of ring matching: one particle at a time in each thread, all its work in the cache."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
from numba import njit

from ._cpu_heights import harmonic_products, peak_heights
from ._cpu_particle import particle_spectra, scale_heights
from ._cpu_select import select_best
from ._cpu_tables import REFERENCE_BLOCK, operands, ring_runs, search_tables, work_space
from .plan import MatchPlan
from .references import ReferenceRings


def match_rings(
    images: np.ndarray,
    shift_px: np.ndarray,
    references: ReferenceRings,
    plan: MatchPlan,
    candidates: np.ndarray,
    per_reference: bool,
) -> tuple[np.ndarray, ...]:
    """See the package; returns the fields of Matches."""
    n_references, box = references.n_references, images.shape[-1]
    results = np.zeros((len(images), n_references if per_reference else 1, 6))
    scores = np.full((len(images), n_references), -np.inf, dtype=np.float32)
    widest = int((candidates[:, 1] - candidates[:, 0]).max(initial=1))
    n_threads = numba.get_num_threads()
    search, given = search_tables(plan, box), operands(references, plan)
    runs = ring_runs(plan, box, references.n_harmonics)
    work = work_space(plan, runs, given, box, widest, n_threads)
    images = np.ascontiguousarray(images, dtype=np.float32)

    def match_share(thread: int) -> None:
        _match_share(
            images, shift_px, candidates, per_reference, search, runs, given, work, thread,
            results, scores,
        )  # fmt: skip

    with ThreadPoolExecutor(n_threads) as threads:
        list(threads.map(match_share, range(n_threads)))
    fields = (
        results[..., 0].astype(np.int32),
        results[..., 1],
        results[..., 2:4],
        results[..., 4] > 0.5,
        results[..., 5],
    )
    return (*(f if per_reference else f[:, 0] for f in fields), scores)


@njit(cache=True, nogil=True)
def _match_share(
    images, shifts, candidates, per_reference, search, runs, given, work, thread, results, scores
):
    """Match every n-th particle, n the number of threads, beginning with the ``thread``-th."""
    for i in range(thread, images.shape[0], work.heights.shape[0]):
        first, last = candidates[i, 0], candidates[i, 1]
        tolerance = _find_heights(images[i], shifts[i], first, last, search, runs, given, work,
                                  thread)  # fmt: skip
        heights = work.heights[thread]
        for k in range(first, last):
            scores[i, k] = heights[k].max()
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
    heights = work.heights[thread]
    flat = heights.reshape(heights.size)
    products, n_lanes = work.products[thread], search.lane_of_shift.shape[0]
    for begin in range(first, last, REFERENCE_BLOCK):
        end = min(begin + REFERENCE_BLOCK, last)
        harmonic_products(given, begin, end, work.spectra[thread], n_lanes, products)
        peak_heights(
            products, end - begin, n_lanes, given, work.inverse[thread], flat, begin * 2 * n_lanes
        )
    scale_heights(shift, search, first, last, work.deviations[thread], heights)
    return given.height_error * norm
