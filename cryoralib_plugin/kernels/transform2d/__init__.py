# SPDX-License-Identifier: GPL-3.0-or-later
"""Rotation, shift and mirror of particle images by SPARX's quadratic interpolation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cryoralib_plugin.arrays import device_of
from cryoralib_plugin.kernels._dispatch import twin_of

if TYPE_CHECKING:
    from cryoralib_plugin.geometry.rigid2d import Poses2D


def transform_images(images: Any, poses: Poses2D) -> Any:
    """Return the images moved onto their references.

    The content moves as ``x_out = F^m R(psi) (x_in + shift)``, so the pixel at ``x_out`` takes
    the value found at ``x_in = R(psi)^T F^m x_out - shift``; coordinates are relative to the
    pixel ``N // 2``. The value is that of the six-point quadratic polynomial of SPARX
    (``quadri_background``)

        f0 + u (c1 + (u - 1) c2 + v c5) + v (c3 + (v - 1) c4),

    ``u`` and ``v`` being the fractions of ``x_in`` and the c's differences of the neighbours,
    which wrap around periodically. A pixel whose ``x_in`` lies outside the frame keeps the
    input at its own place (before the mirror). For even N the mirror leaves column 0 where it
    is, because its partner would be column N. Coordinates are float64, values float32, and the
    operations come in one order, without fused multiply-add, on both backends.

    Parameters
    ----------
    images : (n, N, N) particle, row, column; float32.
    poses : n in-plane poses, their arrays on the host as :func:`match_rings` returns them;
        degrees and pixels.

    Returns
    -------
    (n, N, N) particle, row, column; float32.

    Raises
    ------
    ValueError
        If the images are not square or the poses are not one for each image.
    TypeError
        If the images are not float32, or the poses do not live on the host.
    """
    check_images_and_poses(images, poses)
    return twin_of(__name__, images=images).transform_images(images, pose_rows(poses))


def pose_rows(poses: Poses2D) -> np.ndarray:
    """Return (n, 5) float64: cosine and sine of psi, shift x and y in pixels, mirror as 0 or 1.

    Cosines that only rounding keeps from 0 are set to it, so that quarter turns permute pixels.
    """
    psi_rad = np.deg2rad(poses.psi_deg)
    turn = np.column_stack([np.cos(psi_rad), np.sin(psi_rad)])
    turn[np.abs(turn) < 1e-12] = 0.0
    return np.column_stack([turn, poses.shift_px, poses.mirror])


def check_images_and_poses(images: Any, poses: Poses2D) -> None:
    """Refuse images that are not (n, N, N) float32, or poses that are not one for each."""
    if images.ndim != 3 or images.shape[1] != images.shape[2]:
        raise ValueError(
            "images must be square, in an array of shape (particles, N, N), but the shape is "
            f"{tuple(images.shape)}"
        )
    if images.dtype != "float32":
        raise TypeError(f"images must be float32, but they are {images.dtype}: convert them first")
    if device_of(psi_deg=poses.psi_deg, shift_px=poses.shift_px, mirror=poses.mirror) != "cpu":
        raise TypeError("poses must live on the host, but they live on a CUDA device")
    if poses.psi_deg.shape != (images.shape[0],):
        raise ValueError(
            f"there must be one pose for each of the {images.shape[0]} images, but there are "
            f"{poses.psi_deg.shape[0]} poses"
        )
