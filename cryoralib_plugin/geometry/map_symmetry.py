# SPDX-License-Identifier: GPL-3.0-or-later
"""Maps turned by rotations, and whether a map has the symmetry it is said to have."""

from __future__ import annotations

import numpy as np
import scipy.ndimage

from cryoralib_plugin.arrays import device_of

from .rotations import to_matrices


def turn_map(volume: np.ndarray, rotation: np.ndarray, order: int = 3) -> np.ndarray:
    """Return W with ``W(x) = V(R x)``, x relative to voxel N // 2; 0 where R x leaves the box.

    The projection of W at the identity is that of V at R. A map of symmetry S does not change when
    it is turned by S.

    Parameters
    ----------
    volume : (N, N, N) float, axes z, y, x, on the host.
    rotation : (4,) float, w x y z, unit.
    order : of the splines between voxels, 0 to 5.

    Returns
    -------
    (N, N, N) float, the volume's dtype.
    """
    if device_of(volume=volume) != "cpu":
        raise TypeError("a map is turned on the host: bring it there first")
    # Matrices act on (x, y, z), arrays are indexed (z, y, x).
    matrix = to_matrices(np.asarray(rotation, dtype=np.float64))[::-1, ::-1]
    centre = np.array(volume.shape) // 2
    return scipy.ndimage.affine_transform(
        volume, matrix, offset=centre - matrix @ centre, order=order
    )


def symmetrise_map(volume: np.ndarray, operators: np.ndarray) -> np.ndarray:
    """Return the mean of a map (N, N, N) turned by all operators (order, 4) of a group."""
    total = np.zeros(volume.shape)
    for operator in operators:
        total += turn_map(volume, operator)
    return (total / len(operators)).astype(volume.dtype)


def symmetry_agreement(volume: np.ndarray, operators: np.ndarray) -> float:
    """Return the lowest correlation of a map with itself turned by an operator of a group.

    Near 1 for a map that has the symmetry about these axes, near 0 or below for one that has not,
    whose axes lie elsewhere or whose centre is not at voxel N // 2. Voxels within the sphere that
    fits into the box count, less the mean at their radius, which has every symmetry. Filter and
    coarsen a noisy map first: interpolation is linear.

    Parameters
    ----------
    volume : (N, N, N) float, on the host.
    operators : (order, 4) float, of `symmetry.symmetry_operators`.

    Raises
    ------
    ValueError
        If the map is the same at all angles, as an empty one is.
    """
    axes = np.indices(volume.shape) - (np.array(volume.shape) // 2)[:, None, None, None]
    radius = np.sqrt((axes**2).sum(axis=0))
    inside = radius <= (min(volume.shape) - 1) // 2
    shell = np.rint(radius[inside]).astype(np.int64)
    still = _without_mean(volume[inside], shell)
    if not np.abs(still).max() > 1e-6 * np.abs(volume).max():
        raise ValueError(
            "the map is the same at all angles, so its symmetry cannot be told: is it empty?"
        )
    lowest = 1.0
    for operator in operators[1:]:
        turned = _without_mean(turn_map(volume, operator, order=1)[inside], shell)
        norm = np.sqrt((still**2).sum() * (turned**2).sum())
        lowest = min(lowest, float((still * turned).sum() / norm) if norm > 0.0 else 0.0)
    return lowest


def _without_mean(values: np.ndarray, shell: np.ndarray) -> np.ndarray:
    """Return values less the mean of their shell."""
    means = np.bincount(shell, weights=values) / np.maximum(np.bincount(shell), 1)
    return values - means[shell]
