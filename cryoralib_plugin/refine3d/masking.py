# SPDX-License-Identifier: GPL-3.0-or-later
"""Which mask a map gets."""

from __future__ import annotations

import logging
from typing import Optional

import numpy as np

from cryoralib_plugin.contract.reconstruction import MapMask
from cryoralib_plugin.fourier.masks3d import automatic_mask, soft_sphere

logger = logging.getLogger(__name__)

_NARROWEST_EDGE_PX = 3.0
"""Of outlines: a sharper edge would carry the noise of strong shells into weak ones."""


def sphere_of_particle(mask: MapMask, box_size_px: int, diameter_px: float) -> np.ndarray:
    """Return the soft ball that holds the particle, (N, N, N) float32."""
    return soft_sphere(box_size_px, diameter_px / 2, mask.mask_edge_px)


def mask_of_map(
    volume: np.ndarray,
    settings: MapMask,
    *,
    diameter_px: float,
    pixel_size_angst: float,
    resolution_angst: float,
    given: Optional[np.ndarray],
) -> np.ndarray:
    """Return the mask of a map, (N, N, N) float32 between 0 and 1.

    An outline is drawn around the map as it comes from the particles, with nothing cut away, so
    what an earlier outline left out comes back. Where none can be drawn, a sphere is used and that
    is logged.

    Parameters
    ----------
    volume : (N, N, N) float
        Mean of both half maps, so that both get one mask.
    settings : which mask is wanted.
    diameter_px : of the particle.
    pixel_size_angst : of the map.
    resolution_angst : of the map: what is finer is noise, and is not outlined.
    given : (N, N, N) float32, the mask of the user, or None.
    """
    sphere = sphere_of_particle(settings, len(volume), diameter_px)
    if settings.map_mask == "sphere":
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
            lowpass_angst=max(settings.mask_lowpass_angst, resolution_angst),
            extend_px=settings.mask_extend_angst / pixel_size_angst,
            soft_edge_px=max(_NARROWEST_EDGE_PX, settings.mask_falloff_angst / pixel_size_angst),
        )
    except ValueError as error:
        logger.warning("no automatic mask in this round, a sphere instead: %s", error)
        return sphere
