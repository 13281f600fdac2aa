# SPDX-License-Identifier: GPL-3.0-or-later
"""RELION's Euler angles as a matrix, written out."""

from __future__ import annotations

import numpy as np


def relion_matrix(rot: float, tilt: float, psi: float) -> np.ndarray:
    """RELION's Euler_angles2matrix (3, 3), angles in degrees; it takes points of the map to the
    image, so it is the transpose of R = Rz(rot) Ry(tilt) Rz(psi)."""
    a, b, g = np.radians([rot, tilt, psi])
    ca, sa, cb, sb, cg, sg = np.cos(a), np.sin(a), np.cos(b), np.sin(b), np.cos(g), np.sin(g)
    cc, cs, sc, ss = cb * ca, cb * sa, sb * ca, sb * sa
    return np.array(
        [
            [cg * cc - sg * sa, cg * cs + sg * ca, -cg * sb],
            [-sg * cc - cg * sa, -sg * cs + cg * ca, sg * sb],
            [sc, ss, cb],
        ]
    )
