# SPDX-License-Identifier: GPL-3.0-or-later
"""The tables of a round: correlations, noise, metrics and the model, as files hold them."""

from __future__ import annotations

from typing import Any, Dict, Optional

import numpy as np
import pandas as pd

from cryoralib_plugin.contract.results import (
    FSC_COLUMNS,
    METRICS3D_COLUMNS,
    NOISE_COLUMNS,
    class_share_column,
)
from cryoralib_plugin.fourier.frc import resolution_from_curve
from cryoralib_plugin.fourier.fsc import MaskedFsc

from .expectation import Outcome
from .state import Refine3DState, RoundMaps
from .task import Task


def fsc_frame(task: Task, state: Refine3DState, maps: RoundMaps) -> pd.DataFrame:
    """Return run_itNNN_fsc.csv: one row a class and shell; what was not measured is empty."""
    n_shells = state.fsc.shape[1]
    shell = np.arange(n_shells)
    with np.errstate(divide="ignore"):
        resolution = task.box_size_px * task.pixel_size_angst / shell
    parts = []
    for k, used in enumerate(state.fsc):
        curve = maps.curves[k]
        measured = [
            np.full(n_shells, np.nan) if curve is None else np.asarray(getattr(curve, name))
            for name in ("unmasked", "masked", "randomised", "corrected")
        ]
        parts.append((np.full(n_shells, k + 1), shell, resolution, *measured, used))
    columns = [np.concatenate(column) for column in zip(*parts)]
    return pd.DataFrame(dict(zip(FSC_COLUMNS, columns)))


def noise_frame(state: Refine3DState) -> pd.DataFrame:
    """Return run_itNNN_noise.csv: one row a half, group and shell."""
    half, group, shell = (axis.ravel() for axis in np.indices(state.noise_power.shape))
    columns = (half + 1, group + 1, shell, state.noise_power.ravel())
    return pd.DataFrame(dict(zip(NOISE_COLUMNS, columns)))


def resolutions_angst(task: Task, state: Refine3DState) -> np.ndarray:
    """Return the resolution of each class, (n_classes,) float64, by the curve the run goes by."""
    return _resolution(task, state.fsc)


def unmasked_resolution_angst(task: Task, curve: Optional[MaskedFsc]) -> float:
    """Return the resolution of half maps as they are; NaN where it was not measured."""
    return np.nan if curve is None else float(_resolution(task, np.asarray(curve.unmasked)))


def _resolution(task: Task, fsc: np.ndarray) -> np.ndarray:
    return resolution_from_curve(
        fsc,
        task.box_size_px,
        task.pixel_size_angst,
        threshold=task.config.stages.resolution_fsc,
    )


def metrics_row(
    task: Task, state: Refine3DState, maps: RoundMaps, outcome: Outcome, change_deg: np.ndarray
) -> Dict[str, Any]:
    """Return the row of metrics.csv of a round; medians are over the particles it could use.

    Parameters
    ----------
    outcome
        Of all particles.
    change_deg
        (m,) float, angles between the poses of this round and of the one before, where there are
        both.
    """
    resolution = resolutions_angst(task, state)
    best = int(np.argmin(resolution))
    usable = outcome.usable

    def median(values: np.ndarray) -> float:
        return float(np.median(values)) if len(values) else np.nan

    values = (
        state.iteration,
        state.stage,
        state.cutoff_px,
        task.box_size_px * task.pixel_size_angst / state.cutoff_px,
        float(resolution[best]),
        unmasked_resolution_angst(task, maps.curves[best]),
        median(outcome.angular_std_deg[usable]),
        median(outcome.shift_std_px[usable]),
        median(change_deg),
        median(outcome.score[usable]),
        float(outcome.n_phases[usable].mean()) if usable.any() else np.nan,
    )
    row = dict(zip(METRICS3D_COLUMNS, values))
    for k, share in enumerate(state.class_shares, 1):
        row[class_share_column(k)] = float(share)
    return row


def model_of(task: Task, state: Refine3DState, maps: RoundMaps, outcome: Outcome) -> Dict[str, Any]:
    """Return what run_itNNN_model.json tells of a round."""
    sizes = np.bincount(outcome.class_index[outcome.usable], minlength=state.n_classes)
    resolution = resolutions_angst(task, state)
    return {
        "iteration": state.iteration,
        "program": task.config.program,
        "stage": state.stage,
        "cutoff_px": state.cutoff_px,
        "box_size_px": task.box_size_px,
        "pixel_size_angst": task.pixel_size_angst,
        "symmetry": task.config.reference.symmetry,
        "random_seed": task.config.compute.random_seed,
        "n_particles": len(outcome),
        "n_unused": int((~outcome.usable).sum()),
        "group_scales": state.group_scale.tolist(),
        "classes": [
            {
                "class": k + 1,
                "share": float(state.class_shares[k]),
                "n_particles": int(sizes[k]),
                "resolution_angst": float(resolution[k]),
                "resolution_unmasked_angst": unmasked_resolution_angst(task, maps.curves[k]),
            }
            for k in range(state.n_classes)
        ],
    }
