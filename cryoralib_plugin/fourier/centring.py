# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the centre of an image is."""

from __future__ import annotations

from typing import Any

import numpy as np

from cryoralib_plugin.arrays import namespace_of

from .transform import check_square


def phase_centre(images: Any) -> Any:
    """Return the phase centre of gravity relative to pixel N // 2 (SPARX ``phase_cog``).

    Along each axis ``c = N / (2 pi) arg sum_j p_j exp(2 pi i (j - N // 2) / N)`` with ``p`` the
    projection of the image on that axis: the phase of its first harmonic. A constant added to
    the image does not move it, and content that crosses the frame does not make it jump.

    Parameters
    ----------
    images : (..., N, N) float.

    Returns
    -------
    (..., 2) float64, x and y, pixels, in (-N / 2, N / 2].
    """
    xp = namespace_of(images)
    box = check_square(images)
    angle = 2.0 * np.pi * (xp.arange(box) - box // 2) / box
    profiles = xp.stack([images.sum(axis=-2), images.sum(axis=-1)], axis=-2).astype(xp.float64)
    phase = xp.arctan2(profiles @ xp.sin(angle), profiles @ xp.cos(angle))
    return phase * box / (2.0 * np.pi)
