# SPDX-License-Identifier: GPL-3.0-or-later
"""CUDA twin of ring matching: batches of particles large enough to fill the device."""

from __future__ import annotations

import logging
from typing import Any, Iterator

import numpy as np

from cryoralib_plugin.arrays import namespace_of
from cryoralib_plugin.kernels.device import OutOfMemory

from ._cuda_exact import Starts, angle_peaks, exact_peaks
from ._cuda_fast import bytes_per_particle, peak_heights, ring_spectra
from ._cuda_tables import DeviceTables
from .plan import MatchPlan
from .references import ReferenceRings

_LOG = logging.getLogger(__name__)

# Share of the free memory one batch may take, and the size beyond which batches gain nothing.
_MEMORY_SHARE = 0.8
_LARGEST_BATCH_BYTES = 16 * 2**30
# The last search and its constants on the device: bringing them there takes as long as matching
# some thousand particles.
_recent: list[Any] = []


def match_rings(
    images: Any,
    shift_px: np.ndarray,
    references: ReferenceRings,
    plan: MatchPlan,
    candidates: np.ndarray,
    per_reference: bool,
) -> tuple[np.ndarray, ...]:
    """See the package; returns the fields of Matches."""
    xp = namespace_of(images)
    images = xp.ascontiguousarray(images, dtype=np.float32)
    tables = _tables_of(xp, references, plan)
    n_images, n_references = len(images), references.n_references
    results = np.zeros((n_images, n_references if per_reference else 1, 6))
    scores = np.full((n_images, n_references), -np.inf, dtype=np.float32)
    for rows, (first, last) in _runs_of_one_range(candidates):
        batch = _batch_size(xp, bytes_per_particle(references, plan, last - first))
        done = 0
        while done < len(rows):
            part = rows[done : done + batch]
            try:
                search = _BatchSearch(
                    xp,
                    images[xp.asarray(part)],
                    shift_px[part],
                    references,
                    plan,
                    tables,
                    (first, last),
                )
                found, heights = search.best(per_reference)
            except xp.cuda.memory.OutOfMemoryError as error:
                xp.get_default_memory_pool().free_all_blocks()
                if len(part) == 1:
                    raise OutOfMemory(
                        "the GPU has no room to match a single particle with "
                        f"{last - first} references at {plan.n_shifts} shifts: use fewer shifts or "
                        "another GPU"
                    ) from error
                batch = max(1, len(part) // 2)
                _LOG.info("GPU memory is full: going on with %d particles at a time", batch)
                continue
            columns = slice(first, last) if per_reference else slice(0, 1)
            results[part, columns] = found
            scores[part, first:last] = heights
            done += len(part)
    fields = (
        results[..., 0].astype(np.int32),
        results[..., 1],
        results[..., 2:4],
        results[..., 4] > 0.5,
        results[..., 5],
    )
    return (*(f if per_reference else f[:, 0] for f in fields), scores)


def _tables_of(xp: Any, references: ReferenceRings, plan: MatchPlan) -> DeviceTables:
    """Return the device's constants of a search; all batches of an iteration share them."""
    key = (xp, references, plan, int(xp.cuda.Device().id))
    if (
        not _recent
        or any(one is not other for one, other in zip(_recent[0][:3], key))
        or (_recent[0][3] != key[3])
    ):
        _recent[:] = [key, DeviceTables.build(xp, references, plan)]
    tables: DeviceTables = _recent[1]
    return tables


def _runs_of_one_range(candidates: np.ndarray) -> Iterator[tuple[np.ndarray, tuple[int, int]]]:
    """Yield the particles that share one range of references, and the range."""
    if not len(candidates):
        return
    ranges, members = np.unique(candidates, axis=0, return_inverse=True)
    order = np.argsort(members.ravel(), kind="stable")
    ends = np.cumsum(np.bincount(members.ravel()))
    for (first, last), rows in zip(ranges, np.split(order, ends[:-1])):
        yield rows, (int(first), int(last))


def _batch_size(xp: Any, particle_bytes: int) -> int:
    """Return how many particles fit in the memory that is free now."""
    free = xp.cuda.runtime.memGetInfo()[0] + xp.get_default_memory_pool().free_bytes()
    room = min(int(free * _MEMORY_SHARE), _LARGEST_BATCH_BYTES)
    # Blocks of the statistics are counted in 32 bits, one for each particle and shift.
    return max(1, min(room // particle_bytes, 2**20))


class _BatchSearch:
    """The fast pass of one batch and what the exact comparison needs of it."""

    def __init__(
        self,
        xp: Any,
        images: Any,
        shift_px: np.ndarray,
        references: ReferenceRings,
        plan: MatchPlan,
        tables: DeviceTables,
        reference_range: tuple[int, int],
    ) -> None:
        self._xp, self._images, self._plan, self._tables = xp, images, plan, tables
        self._first = reference_range[0]
        self._shifts = shift_px[:, None] + plan.shift_grid_px
        self._centres = images.shape[-1] // 2 - self._shifts
        self._spectra = ring_spectra(xp, images, self._centres, references, plan, tables)
        heights = peak_heights(xp, self._spectra, references, plan, tables, reference_range)
        self._heights = heights.reshape(len(heights), 2, len(images), plan.n_shifts)
        self._forbid(shift_px, images.shape[-1] // 2 - 1 - plan.rings.outer_radius_px)
        norms = self._spectra.norms.reshape(len(images), plan.n_shifts).max(axis=1)
        self._tolerance = norms * np.float32(references.height_error)

    def _forbid(self, shift_px: np.ndarray, room_px: float) -> None:
        """Give shifts that take the outer ring out of the frame, and unwanted hands, no chance."""
        grid = self._plan.shift_grid_px
        leaves = (np.abs(self._shifts) > room_px + 1e-6) & (grid != 0.0)
        outside = self._xp.asarray(leaves.any(axis=2))
        self._heights = self._xp.where(outside, np.float32(-np.inf), self._heights)
        if not self._plan.mirror:
            self._heights[:, 1] = -np.inf

    def best(self, per_reference: bool) -> tuple[np.ndarray, np.ndarray]:
        """Return (n, 1 or n_references, 6) results and (n, n_references) float32 peak heights.

        A result is reference, psi (degrees), shift x, shift y (pixels), mirror, score.
        """
        xp, plan = self._xp, self._plan
        by_reference = self._heights.max(axis=(1, 3))
        highest = by_reference if per_reference else by_reference.max(axis=0, keepdims=True)
        thresholds = highest - 2.0 * self._tolerance
        either_hand = self._heights.max(axis=1)
        is_candidate = (either_hand >= thresholds[:, :, None]) & xp.isfinite(either_hand)
        reference, particle, shift = xp.nonzero(is_candidate)
        lowest = (thresholds - self._tolerance)[reference if per_reference else 0, particle]
        candidate, hand, angle = angle_peaks(
            xp,
            self._spectra,
            plan,
            self._tables,
            (particle * plan.n_shifts + shift).astype(np.int64),
            (reference + self._first).astype(np.int32),
            lowest.astype(np.float32),
        )
        reference, particle, shift = (
            xp.asnumpy(index)[candidate] for index in (reference, particle, shift)
        )
        score, angle, offset = self._exact(
            particle, self._centres[particle, shift], reference, hand, angle
        )
        group = particle * by_reference.shape[0] + reference if per_reference else particle
        # Ties go to the later shift, then reference, then the straight hand, then the later angle.
        order = np.lexsort((angle, hand == 0, reference, shift, _settled(score), group))
        winner = order[np.flatnonzero(np.diff(group[order], append=-1))]
        found = tuple(
            values[winner] for values in (particle, reference, shift, hand, angle, offset, score)
        )
        results = self._refined(*found) if plan.refine_shift else self._as_results(*found)
        shape = (len(self._images), by_reference.shape[0] if per_reference else 1, 6)
        return results.reshape(shape), xp.asnumpy(by_reference).T

    def _exact(
        self,
        particle: np.ndarray,
        centre_px: np.ndarray,
        reference: np.ndarray,
        hand: np.ndarray,
        angle: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        starts = Starts(particle, centre_px, reference + self._first, hand == 1, angle)
        return exact_peaks(self._xp, self._images, starts, self._plan, self._tables)

    def _as_results(
        self,
        particle: np.ndarray,
        reference: np.ndarray,
        shift: np.ndarray,
        hand: np.ndarray,
        angle: np.ndarray,
        offset: np.ndarray,
        score: np.ndarray,
    ) -> np.ndarray:
        psi_deg = (-360.0 * (angle + offset) / self._plan.rings.n_angles) % 360.0
        shift_px = self._shifts[particle, shift]
        return np.column_stack([reference + self._first, psi_deg, shift_px, hand, score])

    def _refined(
        self,
        particle: np.ndarray,
        reference: np.ndarray,
        shift: np.ndarray,
        hand: np.ndarray,
        angle: np.ndarray,
        offset: np.ndarray,
        score: np.ndarray,
    ) -> np.ndarray:
        """Move winners by a parabola through neighbouring heights, and keep what has improved."""
        xp, plan = self._xp, self._plan
        results = self._as_results(particle, reference, shift, hand, angle, offset, score)
        # (n, 5): the winner's own height and those one step towards -x, +x, -y, +y.
        around = np.column_stack([shift, plan.neighbours[shift]])
        index = [xp.asarray(i)[:, None] for i in (reference, hand, particle)]
        row = xp.asnumpy(self._heights[(*index, xp.asarray(np.maximum(around, 0)))])
        row = np.where(around >= 0, row, -np.inf).astype(np.float64)
        moved = plan.step_px * np.column_stack(
            [_parabola_offset(row[:, 1 + side], row[:, 0], row[:, 2 + side]) for side in (0, 2)]
        )
        higher, at, fraction = self._exact(
            particle, self._centres[particle, shift] - moved, reference, hand, angle
        )
        # A parabola through noise may point downhill: the grid position is then the better one.
        better = higher > score
        results[better, 1] = (-360.0 * (at + fraction)[better] / plan.rings.n_angles) % 360.0
        results[better, 2:4] += moved[better]
        results[better, 5] = higher[better]
        return results


def _settled(score: np.ndarray) -> np.ndarray:
    """Return scores without their last bits, which the order of summation must not make decide."""
    mantissa, exponent = np.frexp(score)
    return np.ldexp(np.rint(mantissa * 2.0**40), exponent - 40)


def _parabola_offset(before: np.ndarray, middle: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Return the maximum of parabolas through three values, in steps, at most a half."""
    curvature = before - 2.0 * middle + after
    sound = np.isfinite(curvature) & (curvature < 0.0)
    slope = np.where(sound, before, 0.0) - np.where(sound, after, 0.0)
    return np.clip(0.5 * slope / np.where(sound, curvature, -1.0), -0.5, 0.5)
