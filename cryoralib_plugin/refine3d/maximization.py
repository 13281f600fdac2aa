# SPDX-License-Identifier: GPL-3.0-or-later
"""From the sums of a round to the next model: maps, their correlation, noise, shares of classes."""

from __future__ import annotations

from dataclasses import replace
from typing import List, NamedTuple, Optional, Tuple

import numpy as np

from cryoralib_plugin.fourier.fsc import MaskedFsc, fsc, last_shell_above
from cryoralib_plugin.kernels.backproject import SliceSums
from cryoralib_plugin.kernels.threads import in_threads

from .class_differences import difference_filters, filtered_differences
from .classes import class_shares, faint_contrast, told_apart
from .frame import centre_of_mass_px, drift_px, free_shift, moved
from .half_maps import (
    HalfSums,
    correlation,
    filtered_halves,
    joined_shell,
    map_without,
    merged_map,
    significant,
    unfiltered_halves,
)
from .image_power import projected_information
from .intensity import with_grey_scale
from .masking import mask_of_map
from .noise import updated_noise_power
from .schedule import Step
from .state import GLOBAL, Refine3DState, RoundMaps
from .sums import RoundSums, together, without
from .task import Task

_NOTHING = np.zeros(0, np.float32)


class ClassMaps(NamedTuple):
    """The maps of one class; see `Refine3DState` and `RoundMaps`."""

    references: np.ndarray
    left_out: np.ndarray
    fsc: np.ndarray
    unfiltered: np.ndarray
    merged: np.ndarray
    mask: np.ndarray
    curves: Optional[MaskedFsc]


def maximization(
    task: Task,
    sums: RoundSums,
    state: Refine3DState,
    step: Step,
    given_mask: Optional[np.ndarray] = None,
) -> Tuple[Refine3DState, RoundMaps]:
    """Return the model after a round, and its maps.

    Half maps are made from their own particles alone; only shells up to `join_halves_angst`, or
    where they correlate by `join_halves_fsc`, are shared, whatever the number of classes. They
    are filtered by the correlation of this round, not of the one before.

    Parameters
    ----------
    task : sizes, symmetry and parameters; no particles are read.
    sums : of all particles, on the host.
    state : of the round before.
    step : this round.
    given_mask : (N, N, N) float32, the mask of the user, or None.
    """
    made = [
        _maps_of_class(task, parts, state.references[k], step, given_mask, k)
        for k, parts in enumerate(sums.parts)
    ]
    smallest = task.config.stages.smallest_class_share
    shares, rescued = class_shares(sums.class_mass, smallest if task.n_classes > 1 else 0.0)
    made = _apart_as_far_as_reproduced(task, made, sums.class_mass)
    noise_power = updated_noise_power(state.noise_power, sums.noise)
    for k, largest in rescued:
        made[k] = _copied(made[k], made[largest], task, k, noise_power, step.iteration)
    after = replace(
        with_grey_scale(state, task, sums, step),
        iteration=step.iteration,
        stage=step.stage,
        cutoff_px=step.cutoff_px,
        references=np.stack([one.references for one in made]),
        left_out=np.stack([one.left_out for one in made]),
        noise_power=noise_power,
        class_shares=shares,
        fsc=np.stack([one.fsc for one in made]),
    )
    maps = RoundMaps(
        unfiltered_halves=np.stack([one.unfiltered for one in made]),
        merged=np.stack([one.merged for one in made]),
        masks=np.stack([one.mask for one in made]),
        curves=tuple(one.curves for one in made),
    )
    return after, maps


def _apart_as_far_as_reproduced(
    task: Task, made: List[ClassMaps], mass: np.ndarray
) -> List[ClassMaps]:
    """Return the classes without those of their differences that their halves do not share."""
    if len(made) == 1 or not mass.any():
        return made
    weights = mass / mass.sum()
    factors = difference_filters(
        np.stack([one.unfiltered for one in made]),
        np.stack([one.mask for one in made]).max(axis=0),
        np.stack([one.fsc for one in made]),
        weights,
        first_px=task.limits.first_px,
        order=len(task.operators),
    )
    references, left_out = (
        filtered_differences(np.stack(maps), weights, factors)
        for maps in ([one.references for one in made], [one.left_out for one in made])
    )
    return [
        one._replace(references=references[k], left_out=left_out[k]) for k, one in enumerate(made)
    ]


def _copied(
    emptied: ClassMaps, largest: ClassMaps, task: Task, number: int, noise_power: np.ndarray,
    iteration: int,
) -> ClassMaps:  # fmt: skip
    """Return an emptied class with references that differ a little from those of the largest."""
    information = projected_information(task, largest.references.mean(axis=0), noise_power)

    def copied(maps: np.ndarray) -> np.ndarray:
        if not maps.size:
            return maps
        return told_apart(
            maps,
            number,
            key=(task.config.compute.random_seed, iteration),
            operators=task.operators,
            contrast=faint_contrast(information),
        )

    return emptied._replace(
        references=copied(largest.references), left_out=copied(largest.left_out)
    )


def _maps_of_class(
    task: Task,
    parts: Tuple[Tuple[SliceSums, ...], ...],
    before: np.ndarray,
    step: Step,
    given_mask: Optional[np.ndarray],
    number: int,
) -> ClassMaps:
    config, box = task.config, task.box_size_px
    settings = config.reconstruction
    slices = tuple(together(half) for half in parts)
    first, second = (HalfSums.of(half, settings) for half in slices)
    empty = first.is_empty or second.is_empty
    if empty:
        # Of nothing no map can be made: the class keeps what it had.
        unfiltered = before.astype(np.float32)
    else:
        unfiltered = unfiltered_halves(first, second)
    known_px = min(
        last_shell_above(fsc(*unfiltered), config.stages.resolution_fsc), step.reconstruct_px
    )
    mask = _mask(task, unfiltered, known_px, given_mask)
    if empty:
        none = np.zeros(box // 2 + 1)
        left_out = np.stack([before] * len(parts[0]), axis=1) if len(parts[0]) > 1 else _NOTHING
        return ClassMaps(before, left_out, none, unfiltered, before.mean(axis=0), mask, None)
    curves, used = correlation(
        unfiltered,
        mask,
        reconstruct_px=step.reconstruct_px,
        is_masked=config.mask.masked_fsc,
        key=(config.compute.random_seed, step.iteration, number),
    )
    passed = significant(used, mask if config.mask.masked_fsc else None, len(task.operators))
    merged = merged_map(first, second, passed)
    joined = joined_shell(used, box * task.pixel_size_angst, settings)
    filtered = filtered_halves(first, second, passed, merged, joined)
    left_out = _left_out(task, parts, slices, (first, second), passed, joined)
    if step.stage == GLOBAL:
        shift = -_displacement_px(task, merged, mask, before.mean(axis=0), step)
        filtered, merged, unfiltered = (moved(one, shift) for one in (filtered, merged, unfiltered))
        left_out = moved(left_out, shift) if left_out.size else left_out
        # An outline moves with its map.
        mask = _mask(task, unfiltered, known_px, given_mask)
    if config.mask.flatten_solvent:
        filtered, left_out = filtered * mask, left_out * mask if left_out.size else left_out
    references = filtered.astype(np.float32)
    return ClassMaps(references, left_out, used, unfiltered, merged, mask, curves)


def _mask(
    task: Task, unfiltered: np.ndarray, known_px: int, given: Optional[np.ndarray]
) -> np.ndarray:
    """Return the one mask of both half maps (2, N, N, N), which are known to a shell."""
    return mask_of_map(
        unfiltered.mean(axis=0),
        task.config.mask,
        diameter_px=task.diameter_angst / task.pixel_size_angst,
        pixel_size_angst=task.pixel_size_angst,
        resolution_angst=task.box_size_px * task.pixel_size_angst / max(1, known_px),
        given=given,
    )


def _left_out(
    task: Task,
    parts: Tuple[Tuple[SliceSums, ...], ...],
    slices: Tuple[SliceSums, ...],
    halves: Tuple[HalfSums, HalfSums],
    curve: np.ndarray,
    joined_px: int,
) -> np.ndarray:
    """Return what each part of each half is compared with, (2, n_parts, N, N, N) float32.

    A particle has a share of its own in the map of its half, where a grid point is seen by few
    slices a tenth and more: it explains its own noise best at the pose where it entered, right or
    wrong. Without its part the map knows nothing of its noise.
    """
    if len(parts[0]) == 1:
        return _NOTHING
    settings, box = task.config.reconstruction, task.box_size_px
    maps = np.empty((2, len(parts[0]), box, box, box), np.float32)

    def make(place: Tuple[int, int]) -> None:
        half, number = place
        rest = HalfSums.of(without(slices[half], parts[half][number]), settings)
        maps[half, number] = map_without(rest, halves[1 - half], curve, joined_px)

    in_threads(make, np.ndindex(2, len(parts[0])))
    return maps


def _displacement_px(
    task: Task, merged: np.ndarray, mask: np.ndarray, before: np.ndarray, step: Step
) -> np.ndarray:
    """Return how far a map lies from where it should be, (3,) float64: z, y, x.

    While poses are searched everywhere a map may be moved freely, for shifts are found again. It
    stays where the map before it was, and thus in its mask, or comes to the centre of the box.
    """
    if task.config.reconstruction.recentre_map:
        found = centre_of_mass_px(merged, mask)
    else:
        found = drift_px(merged * mask, before, step.cutoff_px)
    return free_shift(found, task.config.reference.symmetry)
