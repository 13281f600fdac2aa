# SPDX-License-Identifier: GPL-3.0-or-later
"""Polar resampling: images on concentric rings, the first step of every rotational search."""

from __future__ import annotations

from typing import Any

from cryoralib_plugin.arrays import device_of
from cryoralib_plugin.geometry.rings import RingLayout

from . import cpu


def resample_polar(images: Any, shift_px: Any, rings: RingLayout) -> Any:
    """Sample images bilinearly on rings around their shifted centres.

    Sample ``n`` of the ring of radius ``r`` and length ``L`` lies at
    ``(c - shift_x + r sin(2 pi n / L), c - shift_y + r cos(2 pi n / L))`` with ``c = N // 2``
    (SPARX ``Polar2Dm``). Positions beyond the frame take the value of its nearest edge.

    Parameters
    ----------
    images : (n_images, N, N) float32 or float64, rows then columns.
    shift_px : (n_images, 2) float64, x then y, pixels; the shift that would bring each particle's
        centre onto the centre of the frame.
    rings : the rings.

    Returns
    -------
    (n_images, rings.n_samples) float64, ring after ring, on the device of ``images``.

    Raises
    ------
    ValueError
        If the shapes do not fit together.
    """
    if images.ndim != 3 or images.shape[1] != images.shape[2]:
        raise ValueError(f"images must have shape (n, N, N), but have {tuple(images.shape)}")
    if tuple(shift_px.shape) != (images.shape[0], 2):
        raise ValueError(
            f"shift_px must have shape ({images.shape[0]}, 2), but has {tuple(shift_px.shape)}"
        )
    if device_of(images=images, shift_px=shift_px) == "cuda":
        from . import cuda

        return cuda.resample_polar(images, shift_px, rings)
    return cpu.resample_polar(images, shift_px, rings)
