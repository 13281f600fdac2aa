# SPDX-License-Identifier: GPL-3.0-or-later
"""Projections of molecules; those of a phantom are exact sums of two-dimensional Gaussians."""

from __future__ import annotations

from dataclasses import dataclass
from functools import singledispatch
from typing import Any

import numpy as np

from cryoralib_plugin.geometry.rotations import from_euler, to_matrices

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

    def __getitem__(self, rows: Any) -> Poses3D:
        """Return the poses of the given rows."""
        return Poses3D(self.angles_deg[rows], self.shift_px[rows])


@singledispatch
def project(molecule: Any, poses: Poses3D, box_size_px: int, pixel_size_angst: float) -> np.ndarray:
    """Return projections sampled at pixel centres, (n, N, N) float32; of a phantom with the sum 1.

    Parameters
    ----------
    molecule : Phantom, or MapMolecule of `map_molecule`.
    poses : of n images.
    box_size_px : N.
    pixel_size_angst : Angstrom per pixel.
    """
    raise TypeError(f"a molecule is a Phantom or a MapMolecule, not a {type(molecule).__name__}")


@project.register
def _(phantom: Phantom, poses: Poses3D, box_size_px: int, pixel_size_angst: float) -> np.ndarray:
    rotations = to_matrices(from_euler(*poses.angles_deg.T))
    # The image at (x, y) is the integral over s of V(R (x, y, s)^T), so the image of blob b is at
    # the first two entries of R^T b.
    planar = np.einsum("bi,nij->nbj", phantom.positions_angst, rotations[:, :, :2])
    centres = planar / pixel_size_angst - poses.shift_px[:, None, :]
    sigma_px = phantom.sigma_angst / pixel_size_angst
    along_x = gaussian_profiles(centres[..., 0], sigma_px, box_size_px)
    along_y = gaussian_profiles(centres[..., 1], sigma_px, box_size_px)
    along_y *= phantom.weights.astype(np.float32)[None, :, None]
    return np.matmul(along_y.transpose(0, 2, 1), along_x)
