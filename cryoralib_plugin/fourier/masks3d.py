# SPDX-License-Identifier: GPL-3.0-or-later
"""Masks of maps: spheres, and the outline of the molecule itself, with soft edges.

The edge is soft because a mask is a convolution in Fourier space: a hard one would carry the noise
of strong shells into weak ones and make halves agree where they do not.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.ndimage

from cryoralib_plugin.arrays import device_of, namespace_of

from .maps import check_cube
from .shells import lowpass_volume

_NOISE_LEVEL = 3.0
"""Outline of the automatic mask, in standard deviations of the filtered solvent."""

_WEAKEST = 0.15
"""Outline of the automatic mask, at least, relative to the density of the molecule's core."""

_SMALLEST_PART = 0.1
"""Parts smaller than this share of the largest are noise."""


def distance_map(box_size_px: int, xp: Any = np) -> Any:
    """Return the distance of every voxel from voxel N // 2, (N, N, N) float32, pixels."""
    axis = (xp.arange(box_size_px) - box_size_px // 2).astype(xp.float32)
    return xp.sqrt(axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2)


def soft_sphere(box_size_px: int, radius_px: float, soft_edge_px: float, xp: Any = np) -> Any:
    """Return a ball about voxel N // 2: 1 up to the radius, then a raised cosine down to 0.

    ``1/2 + 1/2 cos(pi (|x| - R) / edge)`` in the edge, which lies outside the radius.

    Parameters
    ----------
    box_size_px : N.
    radius_px : R, above 0, pixels.
    soft_edge_px : width of the edge, pixels; 0 for a hard one.

    Returns
    -------
    (N, N, N) float32.
    """
    if radius_px <= 0.0:
        raise ValueError(f"a mask needs a positive radius, but it is {radius_px} px")
    return _edge(distance_map(box_size_px, xp) - radius_px, soft_edge_px)


def soften(inside: np.ndarray, extend_px: float, soft_edge_px: float) -> np.ndarray:
    """Return a mask, (N, N, N) float32, that is 1 inside a region and near it, and then falls.

    Parameters
    ----------
    inside : (N, N, N) bool, on the host.
    extend_px : how far beyond the region the mask stays 1, pixels.
    soft_edge_px : width of the raised cosine after that, pixels.
    """
    if device_of(inside=inside) != "cpu":
        raise TypeError("a mask is drawn on the host: bring the map there first")
    if not inside.any():
        raise ValueError("the region to be masked is empty")
    outside = scipy.ndimage.distance_transform_edt(~inside)
    return _edge(outside - extend_px, soft_edge_px)


def automatic_mask(
    volume: np.ndarray,
    pixel_size_angst: float,
    *,
    radius_px: float,
    lowpass_angst: float = 15.0,
    extend_px: float = 3.0,
    soft_edge_px: float = 6.0,
) -> np.ndarray:
    """Return a soft mask that follows the molecule, (N, N, N) float32.

    The map is filtered; what stands out from the solvent outside the sphere by three standard
    deviations, and is not weaker than 15 % of the molecule's core, is kept unless it is a small
    speck, extended and given a soft edge.

    Parameters
    ----------
    volume : (N, N, N) float, on the host, protein positive.
    pixel_size_angst : Angstrom per voxel.
    radius_px : of a sphere that holds the whole molecule and leaves some solvent outside, pixels.
    lowpass_angst : resolution the outline is drawn at, Angstrom.
    extend_px, soft_edge_px : pixels.

    Raises
    ------
    ValueError
        If no solvent is left outside the sphere, or nothing inside stands out from it.
    """
    box = check_cube(volume)
    if device_of(volume=volume) != "cpu":
        raise TypeError("a mask is drawn on the host: bring the map there first")
    distance = distance_map(box)
    solvent, sphere = distance > radius_px, distance <= radius_px
    if not solvent.any() or not sphere.any():
        raise ValueError(
            f"an automatic mask needs solvent outside its sphere, but a radius of {radius_px:g} px "
            f"leaves none in a box of {box} px"
        )
    smooth = lowpass_volume(volume, pixel_size_angst, lowpass_angst)
    level = smooth - np.median(smooth[solvent])
    # 1.4826 times the median deviation is the standard deviation of normal noise, whatever
    # bits of neighbours reach into the solvent.
    noise = 1.4826 * np.median(np.abs(level[solvent]))
    pit, core = np.quantile(level[sphere], [0.005, 0.995])
    inside = sphere & (level > max(_NOISE_LEVEL * noise, _WEAKEST * core))
    if not inside.any() or core <= -pit:
        raise ValueError(
            "nothing in the map stands out from its solvent as bright, so no mask can be drawn "
            "around it: use a sphere, or invert the contrast if protein is dark"
        )
    parts, n_parts = scipy.ndimage.label(inside)
    sizes = np.bincount(parts.ravel(), minlength=n_parts + 1)
    sizes[0] = 0
    return soften((sizes >= _SMALLEST_PART * sizes.max())[parts], extend_px, soft_edge_px)


def check_mask(mask: Any, box_size_px: int) -> None:
    """Refuse what cannot be multiplied with a map of box N as a mask.

    Raises
    ------
    ValueError
        If its shape is another, or a value is not finite or outside [0, 1], or all are 0.
    """
    xp = namespace_of(mask)
    if tuple(mask.shape) != (box_size_px,) * 3:
        raise ValueError(
            f"the mask must have the box of the map, {box_size_px} px in each direction, but its "
            f"shape is {tuple(mask.shape)}: resample it"
        )
    lowest, highest = float(mask.min()), float(mask.max())
    # Resampled masks overshoot a little.
    if not bool(xp.isfinite(mask).all()) or lowest < -1e-3 or highest > 1.0 + 1e-3:
        raise ValueError(
            f"the values of a mask must lie between 0 and 1, but they reach from {lowest:g} to "
            f"{highest:g}: is it a map?"
        )
    if highest <= 0.0:
        raise ValueError("the mask is 0 everywhere: nothing would be left of the map")


def _edge(beyond: Any, soft_edge_px: float) -> Any:
    """Return 1 where ``beyond`` is not positive, a raised cosine down to 0 over the edge."""
    xp = namespace_of(beyond)
    if soft_edge_px < 0.0:
        raise ValueError(f"the edge of a mask must not be negative, but it is {soft_edge_px} px")
    if soft_edge_px == 0.0:
        return (beyond <= 0.0).astype(xp.float32)
    fraction = xp.clip(beyond / soft_edge_px, 0.0, 1.0)
    return (0.5 + 0.5 * xp.cos(np.pi * fraction)).astype(xp.float32)
