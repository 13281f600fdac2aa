# SPDX-License-Identifier: GPL-3.0-or-later
"""Exact comparison on a CUDA device: the candidates that rounding or the cut-off could confuse."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from cryoralib_plugin.kernels._compile import kernel

from ._cuda_fast import PACKAGE, Spectra
from ._cuda_tables import DeviceTables
from .plan import MatchPlan

_EXACT_THREADS = 128
# Candidates whose angles are marked, and starts whose samples are held, at a time.
_CANDIDATES_AT_ONCE = 16384
_SCRATCH_BYTES = 2**28


@dataclass(frozen=True)
class Starts:
    """Where exact peaks are looked for; arrays (n_starts,) on the host.

    Attributes
    ----------
    particle : int64, row of the batch.
    centre_px : (n_starts, 2) float64 x, y, pixels, of the rings in the frame.
    reference : int32.
    mirror : bool.
    angle : int32, bin of the longest ring.
    """

    particle: np.ndarray
    centre_px: np.ndarray
    reference: np.ndarray
    mirror: np.ndarray
    angle: np.ndarray


def angle_peaks(
    xp: Any,
    spectra: Spectra,
    plan: MatchPlan,
    tables: DeviceTables,
    columns: Any,
    references: Any,
    thresholds: Any,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return candidate, hand and angle bin of every local maximum that reaches its threshold.

    Parameters
    ----------
    columns, references, thresholds : (n_candidates,) int64, int32 and float32 on the device.
    """
    n_angles = plan.rings.n_angles
    launch = kernel(PACKAGE, "angle_peaks", f"angle_peaks<{n_angles}>")
    found = []
    for first in range(0, columns.shape[0], _CANDIDATES_AT_ONCE):
        part = slice(first, min(first + _CANDIDATES_AT_ONCE, columns.shape[0]))
        is_peak = xp.empty((part.stop - first, 2, n_angles), dtype=np.bool_)
        launch(
            (part.stop - first,),
            (n_angles // 4,),
            (
                spectra.values,
                spectra.device_starts,
                tables.reference_spectra,
                tables.reference_starts,
                tables.first_ring,
                tables.turns[n_angles],
                columns[part],
                references[part],
                thresholds[part],
                is_peak,
                np.int64(spectra.n_columns),
                np.int32(len(spectra.starts)),
                np.int32(plan.rings.n_rings),
            ),
        )
        hands = 2 if plan.mirror else 1
        candidate, hand, angle = (xp.asnumpy(part) for part in xp.nonzero(is_peak[:, :hands]))
        found.append((candidate + first, hand, angle))
    candidates, hands_found, angles = zip(*found)
    return np.concatenate(candidates), np.concatenate(hands_found), np.concatenate(angles)


def exact_peaks(
    xp: Any, images: Any, starts: Starts, plan: MatchPlan, tables: DeviceTables
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return height, angle bin and offset in bins of the local maximum uphill of each start."""
    rings, n_starts = plan.rings, len(starts.particle)
    height, offset = np.empty(n_starts), np.empty(n_starts)
    angle = np.empty(n_starts, dtype=np.int32)
    launch = kernel(PACKAGE, "exact_peaks", "exact_peaks")
    step = max(1, _SCRATCH_BYTES // (8 * rings.n_samples))
    for first in range(0, n_starts, step):
        part = slice(first, min(first + step, n_starts))
        size = part.stop - first
        heights, offsets = (xp.empty(size, dtype=np.float64) for _ in range(2))
        bins = xp.empty(size, dtype=np.int32)
        launch(
            (size,),
            (_EXACT_THREADS,),
            (
                images,
                xp.asarray(starts.particle[part], dtype=np.int64),
                xp.asarray(starts.centre_px[part] @ np.array([1.0, 1.0j])),
                xp.asarray(starts.reference[part], dtype=np.int32),
                xp.asarray(starts.mirror[part], dtype=np.bool_),
                xp.asarray(starts.angle[part], dtype=np.int32),
                tables.positions64,
                tables.areas64,
                tables.ring_of_sample,
                tables.bin_of_sample,
                tables.step_bits,
                tables.reference_tables,
                xp.empty((size, rings.n_samples), dtype=np.float64),
                heights,
                bins,
                offsets,
                np.int32(rings.n_samples),
                np.int32(rings.n_rings),
                np.int32(rings.n_angles),
                np.int32(images.shape[-1]),
                np.int32(plan.normalise_rings),
            ),
        )
        height[part], angle[part] = xp.asnumpy(heights), xp.asnumpy(bins)
        offset[part] = xp.asnumpy(offsets)
    return height, angle, offset
