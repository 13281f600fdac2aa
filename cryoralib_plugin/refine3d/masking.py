# SPDX-License-Identifier: GPL-3.0-or-later
"""Which mask a map gets in which stage."""

from __future__ import annotations

import logging
from typing import Optional

import numpy as np

from cryoralib_plugin.contract.reconstruction import MapMask
from cryoralib_plugin.fourier.masks3d import automatic_mask, soft_sphere

from .state import GLOBAL

logger = logging.getLogger(__name__)


def sphere_of_particle(mask: MapMask, box_size_px: int, diameter_px: float) -> np.ndarray:
    """Return the soft ball that holds the particle, (N, N, N) float32."""
    return soft_sphere(box_size_px, diameter_px / 2, mask.mask_edge_px)


def mask_of_stage(
    volume: np.ndarray,
    settings: MapMask,
    *,
    stage: str,
    diameter_px: float,
    pixel_size_angst: float,
    given: Optional[np.ndarray],
) -> np.ndarray:
    """Return the mask of a map, (N, N, N) float32 between 0 and 1.

    In the global stage it is a sphere unless `mask_in_global` is on: an outline drawn around a
    wrong first map would keep it wrong. Where no outline can be drawn, a sphere is used and that
    is logged.

    Parameters
    ----------
    volume : (N, N, N) float
        Mean of both half maps, so that both get one mask.
    settings : which mask is wanted.
    stage : of the round.
    diameter_px : of the particle.
    pixel_size_angst : of the map.
    given : (N, N, N) float32, the mask of the user, or None.
    """
    sphere = sphere_of_particle(settings, len(volume), diameter_px)
    if settings.map_mask == "sphere" or (stage == GLOBAL and not settings.mask_in_global):
        return sphere
    if settings.map_mask == "given":
        if given is None:
            raise ValueError("the mask of the map is to be the given one, but none is given")
        return np.clip(given, 0.0, 1.0).astype(np.float32)
    try:
        return automatic_mask(
            volume,
            pixel_size_angst,
            radius_px=diameter_px / 2,
            lowpass_angst=settings.mask_lowpass_angst,
            extend_px=settings.mask_extend_px,
            soft_edge_px=settings.mask_edge_px,
        )
    except ValueError as error:
        logger.warning("no automatic mask in this round, a sphere instead: %s", error)
        return sphere
