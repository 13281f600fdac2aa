# SPDX-License-Identifier: GPL-3.0-or-later
"""The maximization step: sums over the members become class averages and the next references."""

from __future__ import annotations

from typing import Any, Optional, Tuple

import numpy as np

from cryoralib_plugin.align2d.averages import (
    class_blocks,
    class_frc,
    filter_profiles,
    filtered,
    half_and_full_averages,
)
from cryoralib_plugin.align2d.state import Align2DState, Assignments
from cryoralib_plugin.fourier.centring import phase_centre
from cryoralib_plugin.fourier.filters import fourier_shift, tanh_profile
from cryoralib_plugin.fourier.masks import circular_mask
from cryoralib_plugin.geometry.rigid2d import matrices
from cryoralib_plugin.kernels.class_sums import ClassSums

MASK_EDGE_PX = 4.0
RIM_WIDTH_PX = 2.0
# Width of the edge of the annealing low-pass relative to its cutoff.
ANNEALING_FALLOFF = 0.2


def maximization(
    sums: ClassSums,
    config: Any,
    *,
    iteration: int,
    outer_radius_px: int,
    cutoff_per_px: float = 0.0,
    members: Optional[Assignments] = None,
) -> Tuple[Align2DState, np.ndarray]:
    """Return the averages of the members and where their centres were.

    Parameters
    ----------
    sums : over the members of all ranks, on the host.
    config : of MRA or RFA, its preset applied.
    cutoff_per_px : low-pass of the averages, cycles per pixel; 0 for none.
    members : all particles of the run; without them averages stay where they are.

    Returns
    -------
    state : averages filtered, centred and of mean 0 in the mask.
    centre_px : (n_classes, 2) float64, x and y, pixels
        The averages have been moved by its opposite; `rigid2d.recentre` tells their members.
    """
    averages = config.averages
    halves, full = half_and_full_averages(sums, config.ctf.wiener_snr)
    mask = _mask(full, outer_radius_px)
    curves = class_frc(halves, mask if averages.frc_in_mask else np.ones_like(mask))
    profiles = filter_profiles(curves, sums.counts.sum(axis=1), averages.average_filter)
    if cutoff_per_px > 0.0:
        frequency = np.linspace(0.0, 0.5, profiles.shape[1])
        profiles = profiles * tanh_profile(frequency, cutoff_per_px, ANNEALING_FALLOFF)
    blocks = list(class_blocks(*full.shape[:2]))
    for block in blocks:
        full[block] = without_mean(filtered(full[block], profiles[block]), mask)
    centre = np.zeros((len(full), 2))
    if members is not None:
        centre = _centres(full, sums, members, config, outer_radius_px)
        for block in blocks:
            moved = fourier_shift(full[block], -centre[block])
            full[block] = without_mean(moved, mask)
            halves[block] = fourier_shift(halves[block], -centre[block, None, :])
    state = Align2DState(
        iteration=iteration,
        averages=full,
        half_averages=halves,
        frc=curves,
        counts=np.asarray(sums.counts),
    )
    return state, centre


def without_mean(averages: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return averages (n_classes, N, N) with their mean inside the mask removed, float32."""
    mean = (averages * (mask / mask.sum())).sum(axis=(-2, -1), keepdims=True)
    return (averages - mean).astype(np.float32)


def density_centre(averages: np.ndarray, outer_radius_px: float) -> np.ndarray:
    """Return (n_classes, 2) float64 x, y, pixels: the centre of what is brighter than the rim.

    The phase centre of an average less its mean inside the mask lies too far out, because the
    mask itself then counts as negative density about the middle; for particles that fill the
    mask the error exceeds the offset and centring swings. Density above the level of the rim
    has no such bias, and noise, spread evenly, only makes the step smaller.
    """
    inside = circular_mask(averages.shape[-1], outer_radius_px)
    rim = inside - circular_mask(averages.shape[-1], max(outer_radius_px - RIM_WIDTH_PX, 1.0))
    level = (averages * (rim / rim.sum())).sum(axis=(-2, -1), keepdims=True)
    return np.asarray(phase_centre(np.clip(averages - level, 0.0, None) * inside))


def _mask(images: np.ndarray, outer_radius_px: float) -> np.ndarray:
    return circular_mask(images.shape[-1], outer_radius_px, MASK_EDGE_PX).astype(np.float64)


def _centres(
    references: np.ndarray,
    sums: ClassSums,
    members: Assignments,
    config: Any,
    outer_radius_px: int,
) -> np.ndarray:
    """Return (n_classes, 2) float64 x, y, pixels: the centre of each average; 0 for empty ones."""
    centre = np.zeros((len(references), 2))
    for block in class_blocks(*references.shape[:2]):
        if config.averages.centring == "density_centre":
            centre[block] = density_centre(references[block], outer_radius_px)
        elif config.averages.centring == "phase_centre":
            mask = _mask(references, outer_radius_px)
            centre[block] = phase_centre(references[block] * mask)
    if config.averages.centring == "mean_shift":
        centre = _mean_shifts(members, len(references))
    centre[sums.counts.sum(axis=1) == 0] = 0.0
    if not config.averages.centre_members:
        return centre
    # The centre of a noisy average may lie anywhere, and members cannot follow out of the frame.
    room = references.shape[-1] // 2 - 1 - outer_radius_px
    return np.clip(centre, -room, room)


def _mean_shifts(members: Assignments, n_classes: int) -> np.ndarray:
    """Return (n_classes, 2) float64 mean of F^mirror R(psi) shift (SPARX centre -1), pixels."""
    live = members.reference >= 0
    reference = members.reference[live]
    shift = matrices(members.poses[live])[:, :2, 2]
    size = np.maximum(np.bincount(reference, minlength=n_classes), 1)
    return np.stack(
        [np.bincount(reference, shift[:, i], minlength=n_classes) / size for i in (0, 1)], axis=1
    )
