# SPDX-License-Identifier: GPL-3.0-or-later
"""Weight balancing: density compensation by iteration, as iterative gridding does it.

Looked for are W such that ``(T W) convolved with a narrow kernel`` is 1 wherever slices have been
(Pipe and Menon; Matej and Lewitt's modified Kaiser-Bessel kernel of order 0, radius 1.9 grid
points, alpha 15). With twofold padding and trilinear insertion ``W = 1 / T`` is nearly as good, so
balancing is a choice. The kernel reaches the 27 nearest grid points only; :func:`balanced` sums
over them. :func:`balanced_by_transform` is the usual detour over real space.
"""

from __future__ import annotations

from typing import Any, Callable

import numpy as np

from cryoralib_plugin.arrays import namespace_of

from .volume import grid_radius, padded_backward, padded_forward

KERNEL_RADIUS = 1.9
KERNEL_ALPHA = 15.0
_SMALLEST = 1e-6


def balanced(weights: Any, *, n_iterations: int = 10) -> Any:
    """Return divisors 1 / W that replace T, by sums over 27 neighbours.

    Parameters
    ----------
    weights : (2 m + 1, 2 m + 1, m + 1) float32, T: floored, completed at x = 0.
    n_iterations : of ``W <- W / |C|``, ``C = (T W) convolved with the kernel``.

    Returns
    -------
    like ``weights``; the weights themselves beyond the radius m - 1, which is not used.
    """
    return _iterate(weights, _convolve_27, n_iterations)


def balanced_by_transform(weights: Any, *, n_iterations: int = 10) -> Any:
    """Return the same divisors with every convolution as two Fourier transforms."""
    xp = namespace_of(weights)
    extent = weights.shape[2] - 1
    # Two more points than the grid has, so that the kernel does not reach round.
    grid = 2 * extent + 4
    response = xp.asarray(_kernel_response(grid)).astype(xp.float32)

    def convolve(values: Any) -> Any:
        density = padded_backward(values.astype(xp.complex64), grid, grid)
        return padded_forward((density * response).astype(xp.float32), grid, extent).real

    return _iterate(weights, convolve, n_iterations)


def kernel_values() -> np.ndarray:
    """Return the kernel at distances 0, 1, sqrt 2 and sqrt 3, over its sum of 27, float64."""
    distance = np.sqrt(np.arange(4.0))
    inside = np.sqrt(1.0 - (distance / KERNEL_RADIUS) ** 2)
    values = np.i0(KERNEL_ALPHA * inside) / np.i0(KERNEL_ALPHA)
    return values / (values @ np.array([1.0, 6.0, 12.0, 8.0]))


def _iterate(weights: Any, convolve: Callable[[Any], Any], n_iterations: int) -> Any:
    xp = namespace_of(weights)
    extent = weights.shape[2] - 1
    used = (grid_radius(extent, xp) <= extent - 1) & (weights > 0.0)
    inverse = xp.where(used, 1.0 / xp.where(used, weights, 1.0), 0.0).astype(xp.float32)
    for _ in range(n_iterations):
        spread = convolve(weights * inverse)
        inverse = inverse / xp.maximum(xp.abs(spread), _SMALLEST).astype(xp.float32)
    return xp.where(used, 1.0 / xp.where(used, inverse, 1.0), weights).astype(xp.float32)


def _convolve_27(values: Any) -> Any:
    """Return values convolved with the kernel; the half x < 0 is the mirror image."""
    xp = namespace_of(values)
    zero, one, two, three = (float(value) for value in kernel_values())
    depth, height, width = values.shape
    framed = xp.zeros((depth + 2, height + 2, width + 2), dtype=values.dtype)
    framed[1:-1, 1:-1, 1:-1] = values
    framed[1:-1, 1:-1, 0] = values[::-1, ::-1, 1]
    # The kernel's values fall by distance: sums over the axes of one neighbour, or of none.
    by_distance = (zero, one, two, three)
    total = xp.zeros_like(values)
    for z in (-1, 0, 1):
        for y in (-1, 0, 1):
            for x in (-1, 0, 1):
                part = framed[1 + z : 1 + z + depth, 1 + y : 1 + y + height, 1 + x : 1 + x + width]
                total += xp.float32(by_distance[abs(x) + abs(y) + abs(z)]) * part
    return total


def _kernel_response(grid: int) -> np.ndarray:
    """Return the transform of the kernel over a grid, 1 at its centre, (grid,) * 3 float64.

    ``v^(-3/2) I_{3/2}(v)``, ``v^2 = alpha^2 - (2 pi a rho)^2``, rho in cycles per grid point; v is
    real everywhere, since 2 pi a sqrt(3) / 2 is below alpha.
    """
    axis = (np.arange(grid) - grid // 2) / grid
    squared = axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2
    v = np.sqrt(KERNEL_ALPHA**2 - (2 * np.pi * KERNEL_RADIUS) ** 2 * squared)
    values = (np.cosh(v) - np.sinh(v) / v) / v**2
    centre = (np.cosh(KERNEL_ALPHA) - np.sinh(KERNEL_ALPHA) / KERNEL_ALPHA) / KERNEL_ALPHA**2
    return values / centre
