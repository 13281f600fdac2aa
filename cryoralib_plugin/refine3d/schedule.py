# SPDX-License-Identifier: GPL-3.0-or-later
"""Which stage comes next, and how far its cut-off reaches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Sequence, Tuple

import numpy as np

from cryoralib_plugin.contract.plan3d import settling_resolution_angst
from cryoralib_plugin.contract.refine3d import Refine3DConfig, Stages
from cryoralib_plugin.fourier.fsc import last_shell_above

from .state import DEFOCUS, GLOBAL, LOCAL, STAGES, Refine3DState

_GLOBAL_MARGIN_PX = 2
"""Shells beyond the last resolved one that a global round may use."""

_LARGEST_GROWTH = 0.25
"""Growth of the cut-off in one round, as a share of Nyquist, at most."""

_FEW_PERMILLE = 20
"""Particles that may still go to other poses or classes when the global stage ends, of a thousand,
of which every second one was looked for elsewhere."""

_CALMER = 0.8
"""What the number of those falls by, at least, in a round that gains by it."""

_SPARE_PX = 2
"""Shells below Nyquist that are never used: terms at its rim lack neighbours in the grid."""

_RECONSTRUCTED_BEYOND = 1.0 / 3.0
"""Share of Nyquist by which maps reach beyond the cut-off in the global stage: correlation there
owes nothing to the comparison, so it tells how far the cut-off may grow."""


@dataclass(frozen=True)
class Step:
    """One round.

    Attributes
    ----------
    iteration : from 1.
    stage : GLOBAL, LOCAL or DEFOCUS.
    cutoff_px : exclusive radius particles are compared up to, Fourier px.
    reconstruct_px : exclusive radius of the maps it makes, Fourier px.
    """

    iteration: int
    stage: str
    cutoff_px: int
    reconstruct_px: int


@dataclass(frozen=True)
class Passed:
    """What a finished round came to: all that the schedule remembers of it.

    Attributes
    ----------
    stage : of the round.
    cutoff_px : its cut-off.
    growth_px : last shell whose correlation allows the cut-off to grow after the global stage.
    resolution_px : last shell above the reported correlation.
    moved_permille : particles that went to another pose, of a thousand.
    changed_class_permille : particles whose likeliest class is another one, of a thousand.
    """

    stage: str
    cutoff_px: int
    growth_px: int
    resolution_px: int
    moved_permille: int = 0
    changed_class_permille: int = 0


def with_history(
    state: Refine3DState, stages: Stages, moved_permille: int, changed_class_permille: int = 0
) -> np.ndarray:
    """Return the history of a run with the round that made a state; the best class counts."""
    growth, resolution = (
        max(last_shell_above(curve, threshold) for curve in state.fsc)
        for threshold in (stages.cutoff_fsc, stages.resolution_fsc)
    )
    row = [
        STAGES.index(state.stage), state.cutoff_px, growth, resolution, moved_permille,
        changed_class_permille,
    ]  # fmt: skip
    return np.concatenate([state.history, np.array([row], np.int64)])


def passed_rounds(history: np.ndarray) -> Tuple[Passed, ...]:
    """Return the rows of a history in words."""
    return tuple(Passed(STAGES[row[0]], *(int(value) for value in row[1:])) for row in history)


@dataclass(frozen=True)
class Limits:
    """Radii between which cut-offs lie, Fourier px.

    Attributes
    ----------
    first_px : of the first round.
    settled_px : that tells all rotations apart: from here on the global stage ends once particles
        stay where they are.
    global_px : the largest of the global stage.
    last_px : never exceeded.
    lowest_px : inclusive lower end of the comparison.
    """

    first_px: int
    settled_px: int
    global_px: int
    last_px: int
    lowest_px: int


def limits(
    config: Refine3DConfig,
    *,
    box_size_px: int,
    pixel_size_angst: float,
    diameter_angst: float,
    order: int,
) -> Limits:
    """Return the radii of a run.

    Parameters
    ----------
    diameter_angst : of the particle.
    order : of the symmetry.
    """
    side = box_size_px * pixel_size_angst
    stages = config.stages
    last = box_size_px // 2 - _SPARE_PX
    if stages.highest_resolution_angst > 0.0:
        last = min(last, round(side / stages.highest_resolution_angst) + 1)
    # However coarse the start is, one shell is compared.
    first = max(2, min(last, round(side / config.reference.initial_resolution_angst) + 1))
    needed = settling_resolution_angst(diameter_angst, order)
    settled, finest = (
        min(last, max(first, round(side / detail) + 1))
        for detail in (needed, min(stages.global_resolution_angst, needed))
    )
    lowest = min(int(side / config.reference.lowest_resolution_angst), first - 1)
    # The mean of an image is the ice's, not the particle's.
    return Limits(first, settled, finest, last, max(1, lowest))


def first_stage(stages: Stages, all_known: bool) -> str:
    """Return the stage a run begins with: a global one unless every particle has a pose."""
    return (_following(stages, GLOBAL) or GLOBAL) if all_known else GLOBAL


def next_step(
    stages: Stages, limit: Limits, passed: Tuple[Passed, ...], first: str
) -> Optional[Step]:
    """Return the next round, or None where the run is at its end.

    The cut-off follows the correlation of the half maps, by a margin, and never falls. A stage
    ends when rounds bring neither a finer cut-off nor a finer resolution nor calmer poses and
    classes. The global one ends sooner where particles have settled: hardly any has gone to another
    pose or class at a cut-off that tells all poses apart. It is always followed by the next stage
    that is switched on.
    """
    iteration = len(passed) + 1
    if iteration > stages.maximum_rounds:
        return None
    if not passed:
        cutoff = limit.first_px
        return Step(1, first, cutoff, _reach(first, cutoff, limit))
    last = passed[-1]
    stage, cutoff = last.stage, _grown(stages, limit, last, last.stage)
    if _at_rest(stages, limit, passed, cutoff):
        stage = _following(stages, stage)
        if not stage:
            return None
        cutoff = _grown(stages, limit, last, stage)
    return Step(iteration, stage, cutoff, _reach(stage, cutoff, limit))


def _grown(stages: Stages, limit: Limits, last: Passed, stage: str) -> int:
    """Return the cut-off that the last round allows the next one in a stage.

    While poses are looked for, every shell helps that tells anything; later particles would be
    aligned to the noise of shells that have much of it.
    """
    most = min(last.cutoff_px + max(1, round(_LARGEST_GROWTH * limit.last_px)), limit.last_px)
    wanted = last.growth_px + 1 + stages.growth_margin_px
    if stage == GLOBAL:
        most = min(most, limit.global_px)
        wanted = max(wanted, last.resolution_px + 1 + _GLOBAL_MARGIN_PX)
    return max(last.cutoff_px, min(wanted, most))


def _at_rest(stages: Stages, limit: Limits, passed: Tuple[Passed, ...], cutoff: int) -> bool:
    """Return whether the stage of the last round has nothing more to give."""
    last = passed[-1]
    if last.stage == GLOBAL and not stages.global_search:
        # It only looked for particles that came without a pose.
        return True
    if last.stage == GLOBAL and (
        _restless(last) <= _FEW_PERMILLE and last.cutoff_px >= limit.settled_px
    ):
        return True
    patience = stages.patience_rounds
    return cutoff <= last.cutoff_px and _rounds_without_gain(passed) >= patience


def _rounds_without_gain(passed: Sequence[Passed]) -> int:
    """Return how many of the last rounds brought nothing.

    Poses that were found in a global round are at rest in a local one, so that its rounds count
    too; that fewer of them changed is no gain for the local one.
    """
    stage = passed[-1].stage
    best, cutoff, count, fewest = 0, 0, 0, 1000
    for one in passed:
        is_own = one.stage == stage
        # They come to rest: fewer particles change than in any round before.
        settling = is_own and _FEW_PERMILLE < _restless(one) < _CALMER * fewest
        gained = one.resolution_px > best or one.cutoff_px > cutoff or settling
        fewest = min(fewest, _restless(one)) if is_own else 1000
        is_counted = is_own or stage == LOCAL
        count = count + 1 if is_counted and not gained else 0
        best, cutoff = max(best, one.resolution_px), max(cutoff, one.cutoff_px)
    return count


def _restless(one: Passed) -> int:
    """Return how many particles of a thousand changed their class, or their pose in a search for
    others."""
    if one.stage != GLOBAL:
        return one.changed_class_permille
    return max(one.moved_permille, one.changed_class_permille)


def _following(stages: Stages, stage: str) -> str:
    """Return the next stage that is switched on; empty at the end."""
    switched_on = {
        GLOBAL: stages.global_search, LOCAL: stages.local_search, DEFOCUS: stages.defocus_search,
    }  # fmt: skip
    order = [GLOBAL, LOCAL, DEFOCUS]
    later = order[order.index(stage) + 1 :] if stage else order
    return next((one for one in later if switched_on[one]), "")


def _reach(stage: str, cutoff_px: int, limit: Limits) -> int:
    if stage != GLOBAL:
        return limit.last_px
    return min(limit.last_px, cutoff_px + max(4, round(_RECONSTRUCTED_BEYOND * limit.last_px)))
