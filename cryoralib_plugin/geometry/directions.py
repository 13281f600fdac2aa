# SPDX-License-Identifier: GPL-3.0-or-later
"""Directions on the sphere, counted in pixels of equal area (HEALPix, ring order).

Gorski et al., Astrophys. J. 622, 759 (2005). A sphere has 12 n_side^2 pixels, numbered in rings
from the north pole (+z), each from +x towards +y.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cryoralib_plugin.arrays import namespace_of

from .rotations import multiply, view_directions


def n_pixels(n_side: int) -> int:
    """Return the number of pixels, 12 n_side^2, all of one area.

    Raises
    ------
    ValueError
        If n_side is not a whole number above 0.
    """
    if n_side < 1 or n_side != int(n_side):
        raise ValueError(f"n_side of a HEALPix sphere must be 1, 2, 3 ..., but it is {n_side}")
    return 12 * int(n_side) ** 2


def n_side_for(spacing_deg: float) -> int:
    """Return the smallest n_side whose pixels are not wider than an angle, degrees.

    The width of a pixel is the root of its area, ``sqrt(pi / 3) / n_side`` radians.
    """
    if spacing_deg <= 0.0:
        raise ValueError(f"the width of a pixel must be positive, but it is {spacing_deg} degrees")
    return max(1, int(np.ceil(np.rad2deg(np.sqrt(np.pi / 3.0)) / spacing_deg)))


def pixels_of_directions(directions: Any, n_side: int) -> Any:
    """Return the pixel that each direction lies in, (...) int64.

    Parameters
    ----------
    directions : (..., 3) float, x y z, unit.
    n_side : resolution.
    """
    xp = namespace_of(directions)
    count = n_pixels(n_side)
    x, y, z = (directions[..., i].astype(xp.float64) for i in range(3))
    height = xp.abs(z)
    quarter = xp.mod(xp.arctan2(y, x) / (0.5 * np.pi), 4.0)
    # Around the equator pixels lie between lines that rise and lines that fall.
    rising = xp.floor(n_side * (0.5 + quarter - 0.75 * z)).astype(xp.int64)
    falling = xp.floor(n_side * (0.5 + quarter + 0.75 * z)).astype(xp.int64)
    ring = n_side + 1 + rising - falling
    in_ring = (rising + falling - n_side + 1 + (1 - ring % 2)) // 2 % (4 * n_side)
    equatorial = 2 * n_side * (n_side - 1) + (ring - 1) * 4 * n_side + in_ring
    # Near a pole each quarter is a triangle. 1 - |z| from x and y keeps its digits.
    within = quarter - xp.floor(quarter)
    depth = n_side * xp.sqrt(3.0 * (x**2 + y**2) / (1.0 + height))
    step = xp.floor(within * depth).astype(xp.int64)
    polar_ring = step + xp.floor((1.0 - within) * depth).astype(xp.int64) + 1
    around = xp.floor(quarter * polar_ring).astype(xp.int64) % (4 * polar_ring)
    north = 2 * polar_ring * (polar_ring - 1) + around
    south = count - 2 * polar_ring * (polar_ring + 1) + around
    polar = xp.where(z > 0.0, north, south)
    return xp.where(height <= 2.0 / 3.0, equatorial, polar)


def directions_of_pixels(n_side: int, xp: Any = np) -> Any:
    """Return the centres of all pixels, (12 n_side^2, 3) float64, x y z, unit."""
    count = n_pixels(n_side)
    pixel = xp.arange(count)
    cap = 2 * n_side * (n_side - 1)
    # Rings of the southern cap are those of the northern one, counted backwards.
    mirrored = xp.minimum(pixel, count - 1 - pixel)
    ring = (1 + xp.floor(xp.sqrt(1.0 + 2.0 * mirrored)).astype(xp.int64)) // 2
    ring = xp.maximum(ring - (2 * ring * (ring - 1) > mirrored), 1)
    place = mirrored - 2 * ring * (ring - 1)
    place = xp.where(pixel < cap, place, 4 * ring - 1 - place)
    polar_z = 1.0 - ring**2 / (3.0 * n_side**2)
    polar_angle = (place + 0.5) * np.pi / (2.0 * ring)
    band, place = (pixel - cap) // (4 * n_side), (pixel - cap) % (4 * n_side)
    band_z = (2.0 * n_side - (band + n_side)) * 2.0 / (3.0 * n_side)
    # Every other ring is turned by half a pixel.
    band_angle = (place + 0.5 * (1 - band % 2)) * np.pi / (2.0 * n_side)
    in_cap = (pixel < cap) | (pixel >= count - cap)
    z = xp.where(in_cap, xp.where(pixel < cap, polar_z, -polar_z), band_z)
    angle = xp.where(in_cap, polar_angle, band_angle)
    sine = xp.sqrt(xp.maximum(1.0 - z**2, 0.0))
    return xp.stack([sine * xp.cos(angle), sine * xp.sin(angle), z], axis=-1)


def count_views(rotations: Any, n_side: int, operators: Any = None, weights: Any = None) -> Any:
    """Return how many images look along each pixel, (12 n_side^2,) float64; the sum is theirs.

    Parameters
    ----------
    rotations : (n, 4) float, w x y z, unit.
    n_side : resolution.
    operators : (order, 4) float
        Symmetry of the map: every image is counted at all its mates, 1 / order each.
    weights : (n,) float; None counts every image once.
    """
    xp = namespace_of(rotations)
    mates = rotations[None] if operators is None else multiply(operators[:, None], rotations[None])
    pixels = pixels_of_directions(view_directions(mates), n_side)
    each = xp.ones(len(rotations)) if weights is None else weights
    share = xp.broadcast_to(each / len(mates), pixels.shape)
    return xp.bincount(pixels.ravel(), weights=share.ravel(), minlength=n_pixels(n_side))
