# SPDX-License-Identifier: GPL-3.0-or-later
"""RELION's pose columns to :class:`Poses2D` and back: the one door, there is no other.

psi = rlnAnglePsi; shift = (rlnOriginXAngst, rlnOriginYAngst) / pixel size; mirror = rlnIsFlip.
"""

from __future__ import annotations

from typing import Dict

import numpy as np
import pandas as pd

from cryoralib_plugin.contract import labels
from cryoralib_plugin.geometry.rigid2d import Poses2D

POSE_COLUMNS = (
    labels.ANGLE_PSI,
    labels.ORIGIN_X_ANGST,
    labels.ORIGIN_Y_ANGST,
    labels.IS_FLIP,
)


def poses_from_frame(frame: pd.DataFrame, pixel_size_angst: float) -> Poses2D:
    """Return the in-plane poses of a frame with RELION labels; absent columns mean zero.

    Raises
    ------
    ValueError
        If an angle or shift is not a finite number.
    """
    values = {}
    for label in POSE_COLUMNS:
        column = np.zeros(len(frame)) if label not in frame else frame[label].to_numpy(np.float64)
        bad = np.flatnonzero(~np.isfinite(column))
        if bad.size:
            raise ValueError(
                f"column {label} must hold finite numbers, but {bad.size} rows do not, the first "
                f"is row {bad[0] + 1}: remove the column or those particles"
            )
        values[label] = column
    shift_angst = np.stack([values[labels.ORIGIN_X_ANGST], values[labels.ORIGIN_Y_ANGST]], axis=1)
    return Poses2D(
        psi_deg=values[labels.ANGLE_PSI],
        shift_px=shift_angst / pixel_size_angst,
        mirror=values[labels.IS_FLIP] != 0,
    )


def columns_of_poses(poses: Poses2D, pixel_size_angst: float) -> Dict[str, np.ndarray]:
    """Return RELION's pose columns, (n,) each, of in-plane poses that live on the host.

    A shift that passed through Angstrom once is read back from these columns to the last bit, so
    a run that takes its poses from the table continues from its own file exactly.
    """
    shift_angst = np.asarray(poses.shift_px, np.float64) * pixel_size_angst
    return {
        labels.ANGLE_PSI: np.asarray(poses.psi_deg, np.float64),
        labels.ORIGIN_X_ANGST: shift_angst[:, 0],
        labels.ORIGIN_Y_ANGST: shift_angst[:, 1],
        labels.IS_FLIP: np.asarray(poses.mirror).astype(np.int64),
    }
