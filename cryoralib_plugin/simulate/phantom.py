# SPDX-License-Identifier: GPL-3.0-or-later
"""Molecules made of Gaussian blobs, whose maps and projections are known in closed form."""

from __future__ import annotations

from dataclasses import dataclass
from functools import singledispatch
from typing import Any

import numpy as np

from cryoralib_plugin.kernels.random import uniform

from .draws import Phase

_CANDIDATES = 64
_CHOICES = 4
_BLOB_SPACING = 2.2
"""Distance of neighbours in the chain, in units of sigma: the density between them is flat."""
_CLOSEST = 0.85
"""Closest approach of any two blobs, in units of the spacing."""


@dataclass(frozen=True)
class Phantom:
    """A sum of isotropic Gaussians, all of one width.

    Attributes
    ----------
    positions_angst : (n_blobs, 3) float64, x, y, z from the centre of mass, Angstrom.
    weights : (n_blobs,) float64, integral of each blob, sum 1.
    sigma_angst : standard deviation of every blob, Angstrom.
    domains : (n_blobs,) int64, domain that each blob belongs to.
    """

    positions_angst: np.ndarray
    weights: np.ndarray
    sigma_angst: float
    domains: np.ndarray


def make_phantom(
    seed: int, *, diameter_angst: float, n_domains: int, sigma_angst: float
) -> Phantom:
    """Return a molecule without symmetry: self-avoiding chains folded into touching domains.

    Parameters
    ----------
    seed : of the random draws.
    diameter_angst : of the sphere around it, Angstrom; three sigma of the blobs are inside.
    n_domains : compact spheres of different size and density.
    sigma_angst : of the blobs, Angstrom.
    """
    centres, radii = _place_domains(seed, n_domains)
    limit = 0.5 * diameter_angst - 3.0 * sigma_angst
    # The chains fill their domains, so the domains are made to fit the sphere beforehand.
    middle = _middle(centres, radii)
    scale = limit / (np.linalg.norm(centres - middle, axis=1) + radii).max()
    centres, radii = (centres - middle) * scale, radii * scale
    positions, domains = _fold(seed, centres, radii, _BLOB_SPACING * sigma_angst)
    density = 0.8 + 0.5 * uniform(seed, 0, Phase.DOMAIN_DENSITY, np.arange(n_domains), 1)[:, 0]
    weights = density[domains] / density[domains].sum()
    positions = positions - weights @ positions
    # Centring on the mass may push an end out again.
    positions *= min(1.0, limit / np.linalg.norm(positions, axis=1).max())
    return Phantom(positions, weights, sigma_angst, domains)


@singledispatch
def density_map(molecule: Any, box_size_px: int, pixel_size_angst: float) -> np.ndarray:
    """Return the map sampled at voxel centres, (N, N, N) float32, axes z, y, x, origin N // 2.

    Its sum along z is the projection of `project` for angles of zero.
    """
    raise TypeError(f"a molecule is a Phantom or a MapMolecule, not a {type(molecule).__name__}")


@density_map.register
def _(phantom: Phantom, box_size_px: int, pixel_size_angst: float) -> np.ndarray:
    sigma_px = phantom.sigma_angst / pixel_size_angst
    centres = phantom.positions_angst / pixel_size_angst
    x, y, z = (gaussian_profiles(centres[:, axis], sigma_px, box_size_px) for axis in range(3))
    z *= phantom.weights.astype(np.float32)[:, None]
    # Beyond six sigma a blob is below the last digit of its peak.
    first = np.floor(centres + box_size_px // 2 - 6.0 * sigma_px).astype(int)
    last = np.ceil(centres + box_size_px // 2 + 6.0 * sigma_px).astype(int) + 1
    volume = np.zeros((box_size_px,) * 3, dtype=np.float32)
    for blob, (low, high) in enumerate(zip(np.maximum(first, 0), np.maximum(last, 0))):
        in_x, in_y, in_z = (slice(a, b) for a, b in zip(low, high))
        plane = y[blob, in_y, None] * x[blob, None, in_x]
        volume[in_z, in_y, in_x] += z[blob, in_z, None, None] * plane
    return volume


def gaussian_profiles(centre_px: np.ndarray, sigma_px: float, box_size_px: int) -> np.ndarray:
    """Return normal densities of the given centres on the pixel axis, (..., N) float32."""
    axis = np.arange(box_size_px, dtype=np.float32) - np.float32(box_size_px // 2)
    distance = (axis - centre_px[..., None].astype(np.float32)) * np.float32(1.0 / sigma_px)
    np.square(distance, out=distance)
    distance *= np.float32(-0.5)
    np.exp(distance, out=distance)
    distance *= np.float32(1.0 / (sigma_px * np.sqrt(2.0 * np.pi)))
    return distance


def directions(uniform_draws: np.ndarray) -> np.ndarray:
    """Return unit vectors (..., 3), uniform on the sphere, of draws (..., 2) from (0, 1)."""
    z = 2.0 * uniform_draws[..., 0] - 1.0
    azimuth = 2.0 * np.pi * uniform_draws[..., 1]
    planar = np.sqrt(1.0 - z**2)
    return np.stack([planar * np.cos(azimuth), planar * np.sin(azimuth), z], axis=-1)


def _place_domains(seed: int, n_domains: int) -> tuple[np.ndarray, np.ndarray]:
    """Return centres (n, 3) and radii (n,) of spheres that touch, each an earlier one."""
    draws = uniform(seed, 0, Phase.DOMAIN_PLACE, np.arange(n_domains), 1 + 3 * _CANDIDATES)
    radii = 0.6 + 0.4 * draws[:, 0]
    centres = np.zeros((n_domains, 3))
    for i in range(1, n_domains):
        tries = draws[i, 1:].reshape(_CANDIDATES, 3)
        parent = (tries[:, 2] * i).astype(int)
        reach = 0.9 * (radii[parent] + radii[i])
        candidates = centres[parent] + reach[:, None] * directions(tries[:, :2])
        apart = np.linalg.norm(candidates[:, None] - centres[:i], axis=-1)
        overlap = np.maximum(0.89 * (radii[:i] + radii[i]) - apart, 0.0).max(axis=1)
        # Of a few that overlap least the innermost: globular, but not a sphere.
        least = np.argsort(overlap, kind="stable")[:_CHOICES]
        outwards = np.linalg.norm(candidates[least] - _middle(centres[:i], radii[:i]), axis=1)
        centres[i] = candidates[least[outwards.argmin()]]
    return centres, radii


def _middle(centres: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """Return the centre of mass of the domains, (3,)."""
    volume = radii**3
    return volume @ centres / volume.sum()


def _fold(
    seed: int, centres: np.ndarray, radii: np.ndarray, spacing: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the chain's (n, 3) positions and (n,) domains."""
    # Random walks pack spheres to about a third of their volume.
    sizes = np.maximum(3, np.rint(2.2 * (radii / spacing) ** 3).astype(int))
    draws = uniform(seed, 0, Phase.CHAIN, np.arange(sizes.sum()), 2 * _CANDIDATES + 1)
    positions = np.empty((sizes.sum(), 3))
    domains = np.empty(sizes.sum(), dtype=np.int64)
    n = 0
    for domain, size in enumerate(sizes):
        start = n
        positions[n], domains[n], n = centres[domain], domain, n + 1
        for _ in range(size - 1):
            draw, placed = draws[n], positions[:n]
            steps = spacing * directions(draw[:-1].reshape(_CANDIDATES, 2))
            # The chain goes on from its end, or, where that is walled in, from a random blob.
            for origin in (placed[-1], placed[start + int(draw[-1] * (n - start))]):
                candidates = origin + steps
                inside = np.linalg.norm(candidates - centres[domain], axis=1) <= radii[domain]
                candidates = candidates[inside]
                # Squared distances by |a - b|^2 = |a|^2 + |b|^2 - 2 a.b
                squared = (candidates**2).sum(axis=1)[:, None] + (placed**2).sum(axis=1)
                squared -= 2.0 * candidates @ placed.T
                free = np.flatnonzero((squared >= (_CLOSEST * spacing) ** 2).all(axis=1))
                if free.size:
                    positions[n], domains[n], n = candidates[free[0]], domain, n + 1
                    break
    return positions[:n], domains[:n]
