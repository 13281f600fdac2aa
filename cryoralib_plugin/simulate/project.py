# SPDX-License-Identifier: GPL-3.0-or-later
"""Exact projections of a phantom: sums of two-dimensional Gaussians, nothing is interpolated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .phantom import Phantom, gaussian_profiles


@dataclass(frozen=True)
class Poses3D:
    """Where n images see the molecule from, in RELION's convention.

    Attributes
    ----------
    angles_deg : (n, 3) float64, rot, tilt and psi, degrees.
    shift_px : (n, 2) float64, x and y, pixels
        rlnOriginX/Y: what would move the content back to the centre.
    """

    angles_deg: np.ndarray
    shift_px: np.ndarray

    def __len__(self) -> int:
        return len(self.angles_deg)

    def __getitem__(self, rows: slice) -> Poses3D:
        """Return the poses of the given rows."""
        return Poses3D(self.angles_deg[rows], self.shift_px[rows])


def rotation_matrices(angles_deg: np.ndarray) -> np.ndarray:
    """Return (n, 3, 3) float64 ``R = Rz(rot) Ry(tilt) Rz(psi)``; its third column is the view.

    The projection is ``image(x, y) = integral of V(R (x, y, s)^T) ds``.
    """
    rot, tilt, psi = np.deg2rad(angles_deg).T
    return _about_z(rot) @ _about_y(tilt) @ _about_z(psi)


def project(
    phantom: Phantom, poses: Poses3D, box_size_px: int, pixel_size_angst: float
) -> np.ndarray:
    """Return projections sampled at pixel centres, (n, N, N) float32, with the sum of 1.

    Parameters
    ----------
    phantom : whose blobs are projected.
    poses : of n images.
    box_size_px : N.
    pixel_size_angst : Angstrom per pixel.
    """
    rotations = rotation_matrices(poses.angles_deg)
    # Blob b lies at R (x, y, s)^T, so its image is at the first two entries of R^T b.
    planar = np.einsum("bi,nij->nbj", phantom.positions_angst, rotations[:, :, :2])
    centres = planar / pixel_size_angst - poses.shift_px[:, None, :]
    sigma_px = phantom.sigma_angst / pixel_size_angst
    along_x = gaussian_profiles(centres[..., 0], sigma_px, box_size_px)
    along_y = gaussian_profiles(centres[..., 1], sigma_px, box_size_px)
    along_y *= phantom.weights.astype(np.float32)[None, :, None]
    return np.matmul(along_y.transpose(0, 2, 1), along_x)


def _about_z(angle_rad: np.ndarray) -> np.ndarray:
    cosine, sine, zero, one = _entries(angle_rad)
    return _stack([[cosine, -sine, zero], [sine, cosine, zero], [zero, zero, one]])


def _about_y(angle_rad: np.ndarray) -> np.ndarray:
    cosine, sine, zero, one = _entries(angle_rad)
    return _stack([[cosine, zero, sine], [zero, one, zero], [-sine, zero, cosine]])


def _entries(angle_rad: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    zero = np.zeros_like(angle_rad)
    return np.cos(angle_rad), np.sin(angle_rad), zero, zero + 1.0


def _stack(rows: list[list[np.ndarray]]) -> np.ndarray:
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)
