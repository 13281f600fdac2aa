# SPDX-License-Identifier: GPL-3.0-or-later
"""The angular central Gaussian from its equation (Tyler, Biometrika 74, 579 (1987))."""

from __future__ import annotations

import numpy as np


def log_density(rotations, covariance):
    """Return ``ln |S|^(-1/2) (x^T S^-1 x)^-2`` of unit quaternions x (n, 4), (n,) float64."""
    mahalanobis = np.einsum("ni,ij,nj->n", rotations, np.linalg.inv(covariance), rotations)
    return -0.5 * np.log(np.linalg.det(covariance)) - 2.0 * np.log(mahalanobis)
