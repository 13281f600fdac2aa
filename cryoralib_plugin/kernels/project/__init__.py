# SPDX-License-Identifier: GPL-3.0-or-later
"""Central slices of a map's spectrum: what the projections of a map are in Fourier space."""

from __future__ import annotations

from typing import Any

from cryoralib_plugin.arrays import namespace_of
from cryoralib_plugin.fourier.band import FourierBand
from cryoralib_plugin.fourier.volume import FourierVolume
from cryoralib_plugin.kernels._dispatch import twin_of


def project(volume: FourierVolume, rotations: Any, band: FourierBand) -> Any:
    """Return the central slices of a map, one for each rotation.

    ``S(k) = V(R (kx, ky, 0)^T)`` (projection-slice theorem, conventions section 4): the spectrum,
    origin at pixel N // 2, of ``image(x, y) = integral of map(R (x, y, z)^T) dz``. V is
    interpolated trilinearly on the padded grid; the conjugate of its mate stands for what has
    x < 0.

    Parameters
    ----------
    volume : spectrum of a map of the band's box, at least as wide as the band.
    rotations : (n, 3, 3) real, on the device of the volume; R, whose third column is the view.
    band : the terms of a slice.

    Returns
    -------
    (n, n_terms) complex64.

    Raises
    ------
    ValueError
        If shapes or radii do not fit, or a matrix is no rotation.
    TypeError
        If volume and rotations live on different devices.
    """
    check_grid(volume, band)
    check_rotations(rotations)
    xp = namespace_of(rotations)
    twin = twin_of(__name__, volume=volume.values, rotations=rotations)
    return twin.project(volume, xp.ascontiguousarray(rotations, dtype=xp.float32), band)


def check_grid(grid: Any, band: FourierBand) -> None:
    """Refuse a band that does not belong on a grid with ``box_size_px`` and ``max_radius_px``."""
    if grid.box_size_px != band.box_size_px:
        raise ValueError(
            f"the map has a box of {grid.box_size_px} px, but the band one of {band.box_size_px}"
        )
    if grid.max_radius_px < band.highest_px:
        raise ValueError(
            f"the spectrum of the map ends at {grid.max_radius_px} Fourier px, but the band at "
            f"{band.highest_px}: prepare the map for a larger radius"
        )


def check_rotations(rotations: Any) -> None:
    """Refuse what is not an array (..., 3, 3) of rotations."""
    if rotations.ndim < 3 or tuple(rotations.shape[-2:]) != (3, 3):
        raise ValueError(f"rotations must have shape (n, 3, 3), but have {tuple(rotations.shape)}")
    if rotations.size:
        xp = namespace_of(rotations)
        row = [rotations[..., i, :] for i in range(3)]
        # NaN compares false, so this finds it too.
        error = xp.stack(
            [
                xp.abs((row[i] * row[j]).sum(axis=-1) - (i == j)).max()
                for i in range(3)
                for j in range(i, 3)
            ]
        ).max()
        if not bool(error < 1e-3):
            raise ValueError(
                "every rotation must be an orthonormal matrix, but R R^T differs from 1 by "
                f"{float(error):.2g}"
            )
