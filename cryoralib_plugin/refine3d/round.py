# SPDX-License-Identifier: GPL-3.0-or-later
"""One round: every particle is compared with the references and enters the sums."""

from __future__ import annotations

from itertools import product
from typing import Any, Callable, Dict, Optional, Tuple

import numpy as np

from cryoralib_plugin.contract.plan3d import FEWEST_VIEWS, GLOBAL_VIEWS, LOCAL_VIEWS
from cryoralib_plugin.fourier.band import FourierBand
from cryoralib_plugin.fourier.volume import FourierVolume, fourier_volume
from cryoralib_plugin.geometry.rotations import angle_between, to_matrices
from cryoralib_plugin.kernels.backproject import SliceSums

from .accumulate import Insertion, Members, accumulate
from .cloud import PoseCloud
from .expectation import Outcome, expectation, remembered
from .global_search import ScanSet, make_scan_set
from .local_search import Search
from .pose_search import Reach, reach_of
from .schedule import Step
from .state import DEFOCUS, GLOBAL, LOCAL, Refine3DState
from .sums import NoiseSums, RoundSums
from .task import Task

_SCORE_UNIT = 2.0**24

_ANOTHER_POSE_DEG = 20.0

_DOUBTFUL = 0.9
"""Score, over the mean of the half, below which a pose is looked for in every global round."""

_VIEWS = {GLOBAL: GLOBAL_VIEWS, LOCAL: LOCAL_VIEWS, DEFOCUS: LOCAL_VIEWS}
"""In global rounds a particle may have many poses."""


def compare_and_sum(
    task: Task,
    state: Refine3DState,
    step: Step,
    cloud: PoseCloud,
    before: Outcome,
    on_batch: Callable[[int], Any],
) -> Tuple[RoundSums, Outcome]:
    """Return this rank's sums of a round and what it says about its particles.

    Parameters
    ----------
    task : particles of this rank.
    state : of the round before: references and noise.
    step : the round.
    cloud : of this rank's particles; changed in place.
    before : what the round before said about them.
    on_batch : called with the number of particles just done.
    """
    config = task.config
    search = Search(
        config.filter, config.compute.random_seed, step.iteration, step.stage == DEFOCUS
    )
    reach, scan_set = _reach_and_scan(task, step, search)
    band = FourierBand.between(task.box_size_px, 0, step.reconstruct_px)
    sums = empty_sums(task, state, band, task.n_parts)
    insertion = Insertion(
        sums,
        task.device,
        max(FEWEST_VIEWS, _VIEWS[step.stage] // len(task.operators)),
        max(FEWEST_VIEWS, LOCAL_VIEWS // len(task.operators)),
        to_matrices(task.operators),
        task.limits.lowest_px,
        step.cutoff_px,
        state.mean_score if config.filter.grading else np.full(2, np.nan),
    )
    outcome = Outcome.none(len(task.rows), task.n_classes)
    for half, part in product((0, 1), range(task.n_parts)):
        volumes = spectra_of(task, state.compared_with(half, part), step.reconstruct_px)
        for chosen, data in task.batches(half, state, band, part):
            clouds = task.device.to_device(cloud[chosen])
            found = expectation(
                data.within(task.limits.lowest_px, step.cutoff_px),
                volumes,
                clouds,
                state.class_shares,
                search,
                reach,
                scan_set,
                task.device.to_device(before.score[chosen] < _DOUBTFUL * state.mean_score[half]),
            )
            members = Members(half, part, task.group[chosen], task.rows[chosen])
            outcome.put(chosen, accumulate(data, volumes, found, members, search, insertion))
            cloud.put(chosen, task.device.to_host(remembered(found, data.ids, clouds, search)))
            on_batch(len(chosen))
    return sums.on_host(task.device), outcome


def spectra_of(task: Task, references: np.ndarray, max_radius_px: int) -> Tuple[FourierVolume, ...]:
    """Return the spectra of maps (n_classes, N, N, N) on the device."""
    padding = task.config.reconstruction.padding_factor
    return tuple(
        fourier_volume(task.device.to_device(one), max_radius_px=max_radius_px, padding=padding)
        for one in references
    )


def empty_sums(task: Task, state: Refine3DState, band: FourierBand, n_parts: int = 1) -> RoundSums:
    """Return sums of nothing on the device; their units come from the noise, as on all ranks."""
    known = state.noise_power[state.noise_power > 0.0]
    weight = 1.0 / float(np.median(known))

    def slices() -> SliceSums:
        return SliceSums.zeros(
            band,
            task.device,
            padding=task.config.reconstruction.padding_factor,
            data_magnitude=weight**0.5,
            weight_magnitude=weight,
        )

    return RoundSums(
        tuple(
            tuple(tuple(slices() for _ in range(n_parts)) for _ in (0, 1))
            for _ in range(task.n_classes)
        ),
        NoiseSums.zeros(task.n_groups, task.box_size_px),
        np.zeros(task.n_classes, np.int64),
        np.zeros(len(task.table), np.int64),
    )


def mean_score(outcome: Outcome, half: np.ndarray, comm: Any) -> np.ndarray:
    """Return the mean score of each half, (2,) float64; NaN where there is none above 0.

    Scores are summed as integers, so that the number of ranks makes no difference.
    """
    sums = np.zeros((2, 2), np.int64)
    for number in (0, 1):
        scores = outcome.score[outcome.usable & (half == number)]
        sums[number] = [np.rint(scores * _SCORE_UNIT).astype(np.int64).sum(), len(scores)]
    sums = comm.sum(sums)
    mean = sums[:, 0] / _SCORE_UNIT / np.maximum(sums[:, 1], 1)
    return np.where(mean > 0.0, mean, np.nan)


def moved_permille(task: Task, now: Outcome, before: Outcome) -> int:
    """Return how many particles of a thousand went to another pose; 1000 where all are new."""
    known = now.usable & before.usable
    apart = angle_between(now.rotations[known], before.rotations[known], task.operators)
    return _permille(task, int((apart > _ANOTHER_POSE_DEG).sum()), known, now)


def changed_class_permille(task: Task, now: Outcome, before: Outcome) -> int:
    """Return how many particles of a thousand have another likeliest class; 1000 in a first round.

    With one class there are none.
    """
    if task.n_classes == 1:
        return 0
    known = now.usable & before.usable
    other = known & (now.class_index != before.class_index)
    return _permille(task, int(other.sum()), known, now)


def _permille(task: Task, changed: int, known: np.ndarray, now: Outcome) -> int:
    """Return how many of a thousand changed, over all ranks; new particles have."""
    counts = task.comm.sum(np.array([changed, known.sum(), now.usable.sum()], np.int64))
    total, n_known, n_usable = (int(count) for count in counts)
    return 1000 * (total + n_usable - n_known) // max(1, n_usable)


def _reach_and_scan(task: Task, step: Step, search: Search) -> Tuple[Reach, Optional[ScanSet]]:
    """Return the distance of neighbouring poses in a round, and the scan of a global one."""
    shared: Dict[str, Any] = {
        "box_size_px": task.box_size_px,
        "diameter_px": task.diameter_angst / task.pixel_size_angst,
        "cutoff_px": step.cutoff_px,
        "operators": task.operators,
    }
    if step.stage != GLOBAL:
        return task.device.to_device(reach_of(search, **shared)), None
    made = make_scan_set(search, lowest_px=task.limits.lowest_px, **shared)
    scan_set = task.device.to_device(made)
    return scan_set.reach, scan_set
