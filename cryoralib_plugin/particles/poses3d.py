# SPDX-License-Identifier: GPL-3.0-or-later
"""RELION's pose columns to rotations and shifts in space, and back.

``rotation = from_euler(rlnAngleRot, rlnAngleTilt, rlnAnglePsi)``, a unit quaternion w x y z, and
``shift = (rlnOriginXAngst, rlnOriginYAngst) / pixel size`` (docs/conventions.md, section 4).
"""

from __future__ import annotations

from typing import Dict, Tuple

import numpy as np
import pandas as pd

from cryoralib_plugin.contract import labels
from cryoralib_plugin.geometry.rotations import from_euler, to_euler

ANGLES = (labels.ANGLE_ROT, labels.ANGLE_TILT, labels.ANGLE_PSI)
ORIGINS = (labels.ORIGIN_X_ANGST, labels.ORIGIN_Y_ANGST)


def has_angles(frame: pd.DataFrame) -> bool:
    """Whether a frame with RELION labels tells orientations in space.

    Extraction and 2D classification leave rot and tilt at 0 in every row, or leave them out.
    """
    if any(name not in frame for name in ANGLES):
        return False
    tipped = frame[list(ANGLES[:2])].to_numpy(np.float64)
    return len(frame) == 1 or bool((np.nan_to_num(tipped) != 0.0).any())


def poses3d_from_frame(
    frame: pd.DataFrame, pixel_size_angst: float, *, is_posed: bool
) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return rotations, shifts and which of them are known, of a frame with RELION labels.

    Parameters
    ----------
    is_posed
        `has_angles` of the whole set, of which the frame may be a part.

    Returns
    -------
    rotations : (n, 4) float64, w x y z; the identity where no pose is known.
    shift_px : (n, 2) float64, x and y; 0 where it is not known.
    known : (n,) bool, whether all three angles are finite numbers.
    """
    n = len(frame)
    angles = np.full((n, 3), np.nan)
    if is_posed:
        angles = frame[list(ANGLES)].to_numpy(np.float64)
    known = np.isfinite(angles).all(axis=1)
    rotations = from_euler(*np.where(known[:, None], angles, 0.0).T)
    shift_angst = np.zeros((n, 2))
    for axis, name in enumerate(ORIGINS):
        if name in frame:
            shift_angst[:, axis] = frame[name].to_numpy(np.float64)
    usable = known[:, None] & np.isfinite(shift_angst)
    return rotations, np.where(usable, shift_angst, 0.0) / pixel_size_angst, known


def columns_of_poses3d(
    rotations: np.ndarray, shift_px: np.ndarray, pixel_size_angst: float
) -> Dict[str, np.ndarray]:
    """Return RELION's pose columns, (n,) float64 each, of rotations (n, 4) and shifts (n, 2)."""
    shift_angst = np.asarray(shift_px, np.float64) * pixel_size_angst
    columns = dict(zip(ANGLES, to_euler(np.asarray(rotations, np.float64))))
    columns.update(zip(ORIGINS, shift_angst.T))
    return columns
