# SPDX-License-Identifier: GPL-3.0-or-later
"""Scipion's 4 x 4 alignment matrices from RELION's angles and origins, and back.

Scipion's readers of RELION files store, and so do we:

* 2D: M = [Rz(psi) | origin], Rz = [[c, -s], [s, c]], origin = rlnOriginX, rlnOriginY in px: the
  shift comes first, then the rotation. A mirrored particle has M[0, :2] negated (not the shift)
  and M[2, 2] = -1.
* projection: with A = RELION's Euler matrix of (rot, tilt, psi) and s the origin in px,
  M = [A^T | A^T s], which is inv([A | -s]).

All arrays are float64; angles are in degrees, shifts in pixels of the particle images.
"""

from __future__ import annotations

import json
from typing import List, Sequence, Tuple

import numpy as np


def matrices_2d(psi_deg: np.ndarray, origin_px: np.ndarray, flip: np.ndarray) -> np.ndarray:
    """The matrices (n, 4, 4) of psi (n,), origins (n, 2) as x, y and mirror flags (n,)."""
    angle = np.deg2rad(psi_deg)
    matrices = np.tile(np.eye(4), (len(angle), 1, 1))
    matrices[:, 0, 0] = matrices[:, 1, 1] = np.cos(angle)
    matrices[:, 1, 0] = np.sin(angle)
    matrices[:, 0, 1] = -matrices[:, 1, 0]
    matrices[:, :2, 3] = origin_px
    flipped = np.asarray(flip, bool)
    matrices[flipped, 0, :2] *= -1
    matrices[flipped, 2, 2] = -1
    return matrices


def poses_2d(matrices: np.ndarray) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """psi (n,), origins (n, 2) and mirror flags (n,) of matrices (n, 4, 4)."""
    flip = np.linalg.det(matrices[:, :2, :2]) < 0
    # The second row carries no mirror.
    psi_deg = np.rad2deg(np.arctan2(matrices[:, 1, 0], matrices[:, 1, 1]))
    return psi_deg, matrices[:, :2, 3].copy(), flip


def euler_matrices(rot_deg: np.ndarray, tilt_deg: np.ndarray, psi_deg: np.ndarray) -> np.ndarray:
    """RELION's matrices A (n, 3, 3) = Rz(psi) Ry(tilt) Rz(rot) of passive rotations (ZYZ)."""
    cos_rot, sin_rot = np.cos(np.deg2rad(rot_deg)), np.sin(np.deg2rad(rot_deg))
    cos_tilt, sin_tilt = np.cos(np.deg2rad(tilt_deg)), np.sin(np.deg2rad(tilt_deg))
    cos_psi, sin_psi = np.cos(np.deg2rad(psi_deg)), np.sin(np.deg2rad(psi_deg))
    rows = (
        (
            cos_psi * cos_tilt * cos_rot - sin_psi * sin_rot,
            cos_psi * cos_tilt * sin_rot + sin_psi * cos_rot,
            -cos_psi * sin_tilt,
        ),
        (
            -sin_psi * cos_tilt * cos_rot - cos_psi * sin_rot,
            -sin_psi * cos_tilt * sin_rot + cos_psi * cos_rot,
            sin_psi * sin_tilt,
        ),
        (sin_tilt * cos_rot, sin_tilt * sin_rot, cos_tilt),
    )
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def matrices_projection(angles_deg: np.ndarray, origin_px: np.ndarray) -> np.ndarray:
    """The matrices (n, 4, 4) of rot, tilt, psi (n, 3) and origins (n, 2) as x, y."""
    euler = euler_matrices(*np.asarray(angles_deg, float).T)
    shift = np.zeros((len(euler), 3))
    shift[:, :2] = origin_px
    matrices = np.tile(np.eye(4), (len(euler), 1, 1))
    matrices[:, :3, :3] = np.swapaxes(euler, 1, 2)
    matrices[:, :3, 3] = np.einsum("nji,nj->ni", euler, shift)
    return matrices


def poses_projection(matrices: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """rot, tilt, psi (n, 3) and origins (n, 2) of matrices (n, 4, 4).

    Where tilt is 0 or 180 only one in-plane angle is defined; rot is 0 there, as in RELION.
    """
    euler = np.swapaxes(matrices[:, :3, :3], 1, 2)
    origin = np.einsum("nij,nj->ni", euler, matrices[:, :3, 3])[:, :2]
    sin_tilt = np.hypot(euler[:, 2, 0], euler[:, 2, 1])
    tilt = np.arctan2(sin_tilt, euler[:, 2, 2])
    pole = sin_tilt < 1e-9
    rot = np.where(pole, 0.0, np.arctan2(euler[:, 2, 1], euler[:, 2, 0]))
    psi = np.where(
        pole,
        np.arctan2(-euler[:, 1, 0] * np.sign(euler[:, 2, 2]), euler[:, 1, 1]),
        np.arctan2(euler[:, 1, 2], -euler[:, 0, 2]),
    )
    return np.rad2deg(np.stack([rot, tilt, psi], axis=1)), origin


def matrices_from_texts(texts: Sequence[str]) -> np.ndarray:
    """The matrices (n, 4, 4) of the texts that Scipion stores."""
    return np.array(json.loads(f"[{','.join(texts)}]"), float).reshape(-1, 4, 4)


def matrix_texts(matrices: np.ndarray) -> List[str]:
    """The texts that Scipion stores for matrices (n, 4, 4)."""
    return [json.dumps(matrix) for matrix in matrices.tolist()]
