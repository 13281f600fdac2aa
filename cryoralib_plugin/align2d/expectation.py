# SPDX-License-Identifier: GPL-3.0-or-later
"""The expectation step: every particle is compared with the references and takes the best."""

from __future__ import annotations

from typing import Any, Optional, Tuple, Type

import numpy as np

from cryoralib_plugin.align2d.state import Assignments
from cryoralib_plugin.contract.schedule import ShiftStage
from cryoralib_plugin.geometry.rigid2d import Poses2D
from cryoralib_plugin.geometry.rings import RingLayout
from cryoralib_plugin.kernels.ring_match import (
    MatchPlan,
    ReferenceRings,
    match_rings,
    shift_grid,
)


def search_plan(search: Any, stage: ShiftStage, outer_radius_px: int) -> MatchPlan:
    """Return the rings, shifts and hands that a stage of the search compares."""
    return MatchPlan(
        rings=RingLayout.from_radii(search.inner_radius_px, outer_radius_px, search.ring_step_px),
        shift_grid_px=shift_grid(stage.range_x_px, stage.range_y_px, stage.step_px),
        mirror=search.mirror,
        normalise_rings=search.normalise_particles,
        refine_shift=search.refine_shift,
    )


def frame_room(box_size_px: int, outer_radius_px: int) -> float:
    """Return the largest shift, pixels, at which the outer ring stays inside the frame."""
    return float(box_size_px // 2 - 1 - outer_radius_px)


def shifts_in_frame(shift_px: np.ndarray, room_px: float, outside: str) -> np.ndarray:
    """Return shifts the search may start from.

    Parameters
    ----------
    shift_px : (n, 2) float64, x and y, pixels.
    room_px : largest shift along an axis, pixels.
    outside : "clamp" moves a shift beyond it back to it (SPARX ali2d); "reset" makes the particle
        start from no shift again (SPARX mref_ali2d).
    """
    if outside == "clamp":
        return np.clip(shift_px, -room_px, room_px)
    left = (np.abs(shift_px) > room_px).any(axis=1)
    return np.where(left[:, None], 0.0, shift_px)


def expectation(
    images: Any,
    shift_px: np.ndarray,
    references: ReferenceRings,
    plan: MatchPlan,
    *,
    candidates: Optional[np.ndarray] = None,
    out_of_memory: Tuple[Type[BaseException], ...] = (),
) -> Tuple[Assignments, np.ndarray]:
    """Return class, pose and score of each particle; its earlier angle and hand are forgotten.

    Particles are independent of each other, so a batch that does not fit into the memory is
    halved until it does, with the same result.

    Parameters
    ----------
    images : (n, N, N) particle, row, column; float32.
    shift_px : (n, 2) float64, x and y, pixels: the search is centred on these.
    candidates : (n, 2) integers, half-open range of references each particle may choose from.
    out_of_memory : exceptions that mean a batch was too large.

    Returns
    -------
    assignments : of the n particles.
    reference_scores : (n, n_classes) float32, peak height with every reference.
    """
    try:
        matches = match_rings(images, shift_px, references, plan, candidates=candidates)
    except out_of_memory:
        if len(images) < 2:
            raise
        middle = len(images) // 2
        parts = [
            expectation(
                images[part],
                shift_px[part],
                references,
                plan,
                candidates=None if candidates is None else candidates[part],
                out_of_memory=out_of_memory,
            )
            for part in (slice(0, middle), slice(middle, None))
        ]
        return joined([part for part, _ in parts]), np.concatenate([s for _, s in parts])
    found = Assignments(matches.reference, matches.poses, matches.score)
    return found, matches.reference_scores


def joined(parts: list[Assignments]) -> Assignments:
    """Return the assignments of consecutive groups of particles as one."""
    return Assignments(
        np.concatenate([part.reference for part in parts]),
        Poses2D(
            np.concatenate([part.poses.psi_deg for part in parts]),
            np.concatenate([part.poses.shift_px for part in parts]),
            np.concatenate([part.poses.mirror for part in parts]),
        ),
        np.concatenate([part.score for part in parts]),
    )
