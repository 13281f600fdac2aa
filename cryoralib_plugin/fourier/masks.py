# SPDX-License-Identifier: GPL-3.0-or-later
"""Circular masks."""

from __future__ import annotations

from typing import Any

import numpy as np


def radius_map(box_size_px: int, xp: Any = np) -> Any:
    """Return the distance of every pixel from pixel N // 2, (N, N) float64, pixels."""
    axis = xp.arange(box_size_px, dtype=xp.float64) - box_size_px // 2
    return xp.hypot(axis[:, None], axis[None, :])


def circular_mask(
    box_size_px: int, radius_px: float, soft_edge_px: float = 0.0, xp: Any = np
) -> Any:
    """Return a disk about pixel N // 2: 1 up to and including the radius, 0 outside.

    Parameters
    ----------
    box_size_px : N.
    radius_px : pixels.
    soft_edge_px : width of a raised-cosine edge outside the radius, pixels.

    Returns
    -------
    (N, N) float32.

    Raises
    ------
    ValueError
        If the radius is not positive or the edge negative.
    """
    if radius_px <= 0.0 or soft_edge_px < 0.0:
        raise ValueError(
            "a mask needs a positive radius and an edge that is not negative, but they are "
            f"{radius_px} px and {soft_edge_px} px"
        )
    beyond = radius_map(box_size_px, xp) - radius_px
    if soft_edge_px == 0.0:
        return (beyond <= 0.0).astype(xp.float32)
    fraction = xp.clip(beyond / soft_edge_px, 0.0, 1.0)
    return (0.5 + 0.5 * xp.cos(np.pi * fraction)).astype(xp.float32)
