# SPDX-License-Identifier: GPL-3.0-or-later
"""The grey scale of images and of groups: what brings them to that of the map."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from .noise import FEWEST_PARTICLES
from .schedule import Step
from .state import GLOBAL, Refine3DState
from .sums import POWER_UNIT, NoiseSums, RoundSums
from .task import Task, noise_groups

SCALE_RANGE = (0.2, 5.0)
NORM_RANGE = (0.5, 2.0)


def with_grey_scale(state: Refine3DState, task: Task, sums: RoundSums, step: Step) -> Refine3DState:
    """Return the state after a round with the grey scales that the run's parameters ask for.

    There are none after the first round, whose map has not been fitted to the particles yet, and
    images keep theirs in the global stage: what is left of an image at a wrong pose is not noise.

    Parameters
    ----------
    state : of the round before, or of this one.
    task : the whole particle table and the parameters; no particles are read.
    sums : of all particles, relative to the grey scales that `state` has.
    step : this round.
    """
    settings = task.config.reconstruction
    if step.iteration == 1:
        return state
    if settings.scale_correction and task.n_groups > 1:
        before = state.group_scale if len(state.group_scale) else np.ones(task.n_groups)
        state = replace(state, group_scale=group_scales(sums.noise, before))
    if settings.norm_correction and step.stage != GLOBAL:
        half = np.asarray(task.table.half_sets(), np.int64)
        group = noise_groups(task.table, settings.noise_by_group)
        before = state.norm if len(state.norm) else np.ones(len(half))
        state = replace(state, norm=norms(sums.residual, before, half, group))
    return state


def group_scales(sums: NoiseSums, before: np.ndarray) -> np.ndarray:
    """Return the grey scale of each group relative to the map, (n_groups,) float64.

    ``s sum Re conj(s C A) X / sum |s C A|^2`` over both halves, relative to the median over groups
    and within [1/5, 5]; 1 for groups of fewer than 20 particles.

    Parameters
    ----------
    before : (n_groups,) float64, the scales s that the sums were made with.
    """
    cross, power = (
        values.sum(axis=0).astype(np.float64) for values in (sums.cross, sums.reference_power)
    )
    known = (sums.counts.sum(axis=0) >= FEWEST_PARTICLES) & (power > 0.0)
    scale = np.where(known, before * cross / np.where(power > 0.0, power, 1.0), np.nan)
    middle = np.nanmedian(scale) if known.any() else 1.0
    if not middle > 0.0:
        return np.ones(len(scale))
    return np.clip(np.where(known, scale / middle, 1.0), *SCALE_RANGE)


def norms(
    residual: np.ndarray, before: np.ndarray, half: np.ndarray, group: np.ndarray
) -> np.ndarray:
    """Return what brings images to the noise of their half and group, (n,) float64.

    ``sqrt(median(e) / e)`` within [1/2, 2], with e the power that is left of an image as it was
    read, and the median that of the half where the group has fewer than 20 particles. It is 1 in
    the middle of a group in every round, so the map keeps its grey scale. A particle that the
    round could not use keeps what it had.

    Parameters
    ----------
    residual : (n,) int64, see `RoundSums`, of images multiplied by ``before``.
    before : (n,) float64.
    half, group : (n,) int64.
    """
    seen = residual > 0
    power = np.where(seen, residual * POWER_UNIT / before**2, np.nan)
    frame = pd.DataFrame({"half": half, "group": group, "power": power})
    of_half = frame.groupby("half")["power"].transform("median")
    of_group = frame.groupby(["half", "group"])["power"]
    many = of_group.transform("count") >= FEWEST_PARTICLES
    middle = np.where(many, of_group.transform("median"), of_half)
    factor = np.sqrt(middle / np.where(seen, power, 1.0))
    return np.where(seen, np.clip(factor, *NORM_RANGE), before)
