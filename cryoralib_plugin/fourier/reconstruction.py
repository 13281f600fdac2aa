# SPDX-License-Identifier: GPL-3.0-or-later
"""From sums of slices and weights to a map: floors, the Wiener filter, the division."""

from __future__ import annotations

from typing import Any

import numpy as np

from cryoralib_plugin.arrays import namespace_of

from .shells import grid_shells, shell_means
from .volume import FourierVolume, grid_radius, map_of

FSC_RANGE = (1e-3, 0.999)
"""Correlations beyond are taken as these: neither no signal nor no noise is ever certain."""


def floored(weights: Any, padding: int, lowest: float) -> Any:
    """Return weights that are nowhere below a part of their shell's mean.

    A grid point that a single slice has touched near a zero of its CTF would otherwise receive
    X / CTF, which has no bound: one such point is a plane wave through the whole map.

    Parameters
    ----------
    weights : (2 m + 1, 2 m + 1, m + 1) float32, not negative, completed at x = 0.
    padding : of the grid.
    lowest : part of the mean over all points of the shell. RELION's floor is 1e-3: it leaves
        single grid points of 7,000 times the median power of their shell where 400 views of pure
        noise reach 0.45 of the box. 2e-2 leaves some hundreds.
    """
    xp = namespace_of(weights)
    shells = grid_shells(weights.shape[2] - 1, padding, xp)
    means = shell_means(weights, shells)
    return xp.maximum(weights, (lowest * xp.take(means, shells)).astype(weights.dtype))


def wiener_weights(weights: Any, padding: int, fsc: Any, *, n_halves: int = 1) -> Any:
    """Return weights that damp each shell by what its correlation says about the noise.

    ``T + mean_s(T) (1 - f) / (n f)``: with the mean weight everywhere that is the Wiener filter of
    a map whose signal-to-noise ratio is ``n f / (1 - f)``, f the correlation of the two halves.
    The term is added, so that directions with few views are damped more than others.

    Parameters
    ----------
    weights : (2 m + 1, 2 m + 1, m + 1) float32, of one half or of both together; floored.
    padding : of the grid.
    fsc : (n_shells,) real, correlation of the two half maps of *this* round; what lies beyond its
        end has none.
    n_halves : 1 for the best estimate from one half alone, 2 where the halves will be averaged or
        have been added.

    Raises
    ------
    ValueError
        If ``n_halves`` is neither 1 nor 2.
    """
    xp = namespace_of(weights)
    shells = grid_shells(weights.shape[2] - 1, padding, xp)
    return weights + _noise_weights(weights, shells, fsc, n_halves)


def even_weights(weights: Any, padding: int, fsc: Any, *, n_halves: int = 1) -> Any:
    """Return weights for an *unfiltered* map with the least noise.

    Those of :func:`wiener_weights` times what the filter leaves of each shell on average, so that
    amplitudes are kept. Within a shell little-seen grid points count less, as they should: where
    views are sparse on the padded grid, ``F / T`` alone gives their noise the same weight as the
    signal of the others, and correlations of half maps suffer.

    Parameters and errors are those of :func:`wiener_weights`.
    """
    xp = namespace_of(weights)
    shells = grid_shells(weights.shape[2] - 1, padding, xp)
    damped = weights + _noise_weights(weights, shells, fsc, n_halves)
    left = xp.where(damped > 0.0, weights / xp.where(damped > 0.0, damped, 1.0), 1.0)
    return damped * xp.take(shell_means(left, shells), shells).astype(weights.dtype)


def _noise_weights(weights: Any, shells: Any, fsc: Any, n_halves: int) -> Any:
    """Return ``mean_s(T) (1 - f) / (n f)`` at every grid point."""
    if n_halves not in (1, 2):
        raise ValueError(f"n_halves must be 1 or 2, but it is {n_halves}")
    xp = namespace_of(weights)
    means = shell_means(weights, shells)
    curve = np.zeros(len(means))
    given = np.asarray(fsc, dtype=np.float64)[: len(means)]
    curve[: len(given)] = given
    curve = np.clip(np.nan_to_num(curve), *FSC_RANGE)
    noise = xp.asarray((1.0 - curve) / (n_halves * curve))
    return xp.take(means * noise, shells).astype(weights.dtype)


def divided(data: FourierVolume, weights: Any) -> FourierVolume:
    """Return the spectrum ``F / T`` within the radius that slices fill, zero beyond.

    The last voxel of the grid is reached by far corners of interpolation cells only; it is left
    out: |k| <= padding * max_radius_px - 1.

    Parameters
    ----------
    data : sums of slices.
    weights : on the same grid, positive wherever a slice has been.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    if weights.shape != data.values.shape:
        raise ValueError(
            f"weights must have the shape of the data, {tuple(data.values.shape)}, but have "
            f"{tuple(weights.shape)}"
        )
    xp = namespace_of(data.values, weights)
    extent = weights.shape[2] - 1
    used = (grid_radius(extent, xp) <= extent - 1) & (weights > 0.0)
    values = xp.where(used, data.values / xp.where(used, weights, 1.0), 0.0)
    return FourierVolume(
        values.astype(xp.complex64), data.box_size_px, data.padding, data.max_radius_px
    )


def reconstruct(data: FourierVolume, weights: Any) -> Any:
    """Return the map (N, N, N) float32 of sums of slices and of their weights.

    Parameters
    ----------
    data : sums of ``conj(phases) CTF X``, completed at x = 0.
    weights : sums of CTF^2: floored, and with the terms of a Wiener filter where one is wanted.
    """
    return map_of(divided(data, weights))
