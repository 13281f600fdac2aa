# SPDX-License-Identifier: GPL-3.0-or-later
"""Figures that tell whether an alignment converges and its classes live."""

from __future__ import annotations

from typing import Dict

import numpy as np

from cryoralib_plugin.align2d.state import Align2DState, Assignments
from cryoralib_plugin.fourier.frc import resolution_from_curve
from cryoralib_plugin.geometry.rigid2d import pixel_error


def effective_classes(sizes: np.ndarray) -> float:
    """Return 1 / sum p^2 over the shares p of the classes (inverse Simpson index)."""
    total = sizes.sum()
    return float(total**2 / np.sum(sizes.astype(np.float64) ** 2)) if total else 0.0


def class_resolutions(state: Align2DState, pixel_size_angst: float) -> np.ndarray:
    """Return (n_classes,) float64, Angstrom, where each FRC falls below 0.143; inf if nowhere."""
    box = state.averages.shape[-1]
    return resolution_from_curve(state.frc, box, pixel_size_angst)


def iteration_metrics(
    state: Align2DState,
    now: Assignments,
    before: Assignments,
    *,
    minimum_class_size: int,
    radius_px: float,
    pixel_size_angst: float,
) -> Dict[str, float]:
    """Return the row of metrics.csv of one iteration, without the times.

    ``pixel_error_px`` is the root mean square, over particles that kept class and hand, of the
    distance a point of the particle's disk has moved; ``mirror_consistency`` the share of
    particles that kept their hand (SPARX ``pixel_error_2D``).
    """
    live = (now.reference >= 0) & (before.reference >= 0)
    sizes = state.sizes
    kept_hand = live & (now.poses.mirror == before.poses.mirror)
    kept = kept_hand & (now.reference == before.reference)
    moved = pixel_error(now.poses[kept], before.poses[kept], radius_px)
    resolution = class_resolutions(state, pixel_size_angst)[sizes > 0]
    counted = now.score[now.reference >= 0]
    return {
        "iteration": state.iteration,
        "effective_classes": effective_classes(sizes),
        "dead_classes": int((sizes < minimum_class_size).sum()),
        "median_class_size": float(np.median(sizes)),
        "mean_score": _mean(counted),
        "pixel_error_px": float(np.sqrt(_mean(moved**2))),
        "changed_fraction": _mean(now.reference[live] != before.reference[live]),
        "mirror_consistency": _mean(kept_hand[live]),
        "resolution_best_angst": float(resolution.min()) if len(resolution) else float("inf"),
    }


def _mean(values: np.ndarray) -> float:
    return float(np.mean(values)) if len(values) else float("nan")
