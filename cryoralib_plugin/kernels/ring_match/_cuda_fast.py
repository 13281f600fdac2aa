# SPDX-License-Identifier: GPL-3.0-or-later
"""The fast pass on a CUDA device: peak heights of a batch of particles with a run of references."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from cryoralib_plugin.kernels._compile import kernel

from ._cuda_tables import DeviceTables
from .plan import MatchPlan
from .references import ReferenceRings

PACKAGE = "cryoralib_plugin.kernels.ring_match"
_STATISTICS_THREADS = 128
# Transforms of a block: as many as keep its threads near 256 and its rows of columns coalesced.
_TRANSFORMS = {8: 16, 16: 16, 32: 16, 64: 16, 128: 8, 256: 4, 512: 4, 1024: 2, 2048: 2}
_COLUMNS = {8: 8, 16: 8, 32: 8, 64: 8, 128: 8, 256: 8, 512: 8, 1024: 4, 2048: 2}
# References whose products are held at a time.
REFERENCE_BLOCK = 128


@dataclass(frozen=True)
class Spectra:
    """Ring spectra of a batch; a column is one particle at one shift, shifts innermost.

    Attributes
    ----------
    values : flat float32; for each harmonic from ``starts`` on a matrix of rings by real parts of
        all columns and imaginary parts of all columns.
    starts : (n_harmonics,) int64 on the host.
    device_starts : the same on the device.
    norms : (n_columns,) float32, area-weighted norms of the rings.
    """

    values: Any
    starts: np.ndarray
    device_starts: Any
    norms: Any

    @property
    def n_columns(self) -> int:
        """Particles times shifts."""
        return int(self.norms.shape[0])


def ring_spectra(
    xp: Any,
    images: Any,
    centres: np.ndarray,
    references: ReferenceRings,
    plan: MatchPlan,
    tables: DeviceTables,
) -> Spectra:
    """Return spectra of images (n, N, N) about ``centres`` (n, n_shifts, 2), x and y, pixels."""
    rings, box = plan.rings, images.shape[-1]
    n_columns, n_harmonics = centres.shape[0] * centres.shape[1], references.n_harmonics
    places = xp.asarray((centres @ np.array([1.0, 1.0j])).ravel(), dtype=np.complex64)
    means, scales, norms = (xp.empty(n_columns, dtype=np.float32) for _ in range(3))
    kernel(PACKAGE, "ring_statistics", "ring_statistics")(
        (n_columns,),
        (_STATISTICS_THREADS,),
        (
            images,
            places,
            tables.positions32,
            tables.areas32,
            means,
            scales,
            norms,
            np.int32(rings.n_samples),
            np.int32(plan.n_shifts),
            np.int32(box),
            np.int32(plan.normalise_rings),
        ),
    )
    depths = rings.n_rings - references.first_ring
    ends = np.cumsum(depths * 2 * n_columns)
    starts = np.concatenate(([0], ends[:-1])).astype(np.int64)
    device_starts = xp.asarray(starts)
    values = xp.empty(int(ends[-1]), dtype=np.float32)
    for length in np.unique(rings.lengths):
        length = int(length)
        members = np.flatnonzero(rings.lengths == length)
        transforms = _TRANSFORMS[length]
        kernel(PACKAGE, "ring_spectra", f"ring_spectra<{length}, {transforms}>")(
            (-(-n_columns // (2 * transforms)), len(members)),
            (transforms * length // 4,),
            (
                images,
                places,
                means,
                scales,
                tables.turns[length],
                tables.radii,
                tables.first_ring,
                device_starts,
                values,
                np.int64(n_columns),
                np.int32(plan.n_shifts),
                np.int32(box),
                np.int32(n_harmonics),
                np.int32(members[0]),
            ),
        )
    return Spectra(values, starts, device_starts, norms)


def peak_heights(
    xp: Any,
    spectra: Spectra,
    references: ReferenceRings,
    plan: MatchPlan,
    tables: DeviceTables,
    reference_range: tuple[int, int],
) -> Any:
    """Return (n_references of the range, 2, n_columns) float32: the highest correlation of each."""
    first, last = reference_range
    n_columns, n_angles = spectra.n_columns, plan.rings.n_angles
    n_harmonics = references.n_harmonics
    heights = xp.empty((last - first, 2, n_columns), dtype=np.float32)
    n_block = min(REFERENCE_BLOCK, last - first)
    products = xp.empty(n_harmonics * 4 * n_block * n_columns, dtype=np.float32)
    columns = _COLUMNS[n_angles]
    for begin in range(first, last, n_block):
        end = min(begin + n_block, last)
        block = products[: n_harmonics * 4 * (end - begin) * n_columns].reshape(
            n_harmonics, 2 * (end - begin), 2 * n_columns
        )
        for k in range(n_harmonics):
            depth = plan.rings.n_rings - int(references.first_ring[k])
            left, right = int(references.starts[k]), int(spectra.starts[k])
            xp.matmul(
                tables.reference_spectra[left + 2 * begin * depth : left + 2 * end * depth].reshape(
                    2 * (end - begin), depth
                ),
                spectra.values[right : right + depth * 2 * n_columns].reshape(depth, 2 * n_columns),
                out=block[k],
            )
        kernel(PACKAGE, "peak_heights", f"peak_heights<{n_angles}, {columns}>")(
            (-(-n_columns // columns), end - begin),
            (columns * n_angles // 4,),
            (
                block,
                tables.turns[n_angles],
                heights[begin - first : end - first],
                np.int64(n_columns),
                np.int32(n_harmonics),
                np.int32(end - begin),
            ),
        )
    return heights


def bytes_per_particle(references: ReferenceRings, plan: MatchPlan, n_references: int) -> int:
    """Return the device memory that the search of one more particle takes, bytes."""
    depth = int((plan.rings.n_rings - references.first_ring).sum())
    spectra = 2 * depth
    products = references.n_harmonics * 4 * min(n_references, REFERENCE_BLOCK)
    # Heights of both hands, their masked copy, and the larger of the two with its candidates.
    heights = 6 * n_references
    return 4 * plan.n_shifts * (spectra + products + heights + 8)
