# SPDX-License-Identifier: GPL-3.0-or-later
"""What each iteration searches, and how fine its references are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Tuple

from cryoralib_plugin.contract.schedule import ShiftStage, shift_stages

FULL_DETAIL_PER_PX = 0.25


@dataclass(frozen=True)
class Step:
    """One iteration.

    Attributes
    ----------
    iteration : counted from 1.
    shifts : that are compared.
    cutoff_per_px : low-pass of the averages it makes, cycles per pixel; 0 for none.
    balanced : classes that attract more than their share are handicapped.
    restarts_shifts : every particle is searched for around its first shift again, not around that
        of the iteration before.
    is_last : the classes it makes are the result, so nothing may be re-seeded after it.
    """

    iteration: int
    shifts: ShiftStage
    cutoff_per_px: float
    balanced: bool
    restarts_shifts: bool
    is_last: bool


def make_schedule(config: Any, outer_radius_px: int, *, annealed: bool) -> Tuple[Step, ...]:
    """Return the iterations of a run, in order.

    MRA divides its iterations among the stages of the shift schedule, RFA runs all of them in
    each stage (SPARX ali2d). Shifts found against the first, smooth and mixed averages carry some
    particles so far that later searches around them miss; so when classes are free for the
    first time, every particle starts from its first shift again.

    Parameters
    ----------
    annealed : start from smooth references and balanced classes; for references made of random
        groups.
    """
    search = config.search
    stages = shift_stages(search)
    if config.program == "rfa":
        of_iteration = [stage for stage in stages for _ in range(search.n_iterations)]
    else:
        n = max(search.n_iterations, len(stages))
        of_iteration = [stages[i * len(stages) // n] for i in range(n)]
    last = len(of_iteration)
    return tuple(
        Step(
            iteration=i,
            shifts=stage,
            cutoff_per_px=(
                annealing_cutoff(config, i, outer_radius_px) if annealed and i < last else 0.0
            ),
            balanced=annealed and i <= balanced_iterations(config),
            restarts_shifts=annealed and i == balanced_iterations(config) + 1 > 1,
            is_last=i == last,
        )
        for i, stage in enumerate(of_iteration, start=1)
    )


def balanced_iterations(config: Any) -> int:
    """Return how many iterations classes are balanced in: in a short run two thirds at most."""
    return 0 if config.program == "rfa" else _early(config, config.search.balanced_iterations)


def _early(config: Any, asked: int) -> int:
    return min(asked, 2 * config.search.n_iterations // 3)


def annealing_cutoff(config: Any, n_done: int, outer_radius_px: int) -> float:
    """Return the low-pass, cycles per pixel, of references made by iteration `n_done`; 0: none.

    It rises linearly from ``start_detail`` periods across the particle's diameter to one period
    in four pixels. The first references of an unsupervised start are nearly alike: averages of
    random groups. Kept smooth, they sort particles by what distinguishes views most, their
    overall shape; fine detail is let in as classes form.
    """
    if config.program == "rfa" or config.search.start_detail == 0.0:
        return 0.0
    start = config.search.start_detail / (2.0 * outer_radius_px)
    duration = _early(config, config.search.annealing_iterations)
    if n_done >= duration or start >= FULL_DETAIL_PER_PX:
        return 0.0
    share = n_done / duration
    return start + (FULL_DETAIL_PER_PX - start) * share
