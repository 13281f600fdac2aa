# SPDX-License-Identifier: GPL-3.0-or-later
"""How well classes and in-plane poses agree with a known truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cryoralib_plugin.align2d.metrics import effective_classes
from cryoralib_plugin.align2d.state import Assignments
from cryoralib_plugin.geometry.rigid2d import Poses2D, compose, inverse


@dataclass(frozen=True)
class ClassQuality:
    """Agreement of a classification with the truth.

    Attributes
    ----------
    purity : share of particles that belong to the commonest view of their class.
    views_found : views that are the commonest of some class.
    dead_classes : classes below the minimum size.
    effective_classes : 1 / sum of squared shares.
    angle_error_deg : median over particles of their class's commonest view, the rotation and hand
        of each class removed; a particle of the wrong hand counts as 180 degrees.
    wrong_hand : share of the same particles whose hand differs from that of their class.
    """

    purity: float
    views_found: int
    dead_classes: int
    effective_classes: float
    angle_error_deg: float
    wrong_hand: float


def class_quality(
    found: Assignments,
    view: np.ndarray,
    true_poses: Poses2D,
    *,
    n_classes: int,
    minimum_class_size: int = 4,
) -> ClassQuality:
    """Return the agreement of found classes and poses with true views and poses.

    Parameters
    ----------
    view : (n,) integers from 0, the true view of each particle.
    true_poses : n poses onto the true view.
    """
    members = np.zeros((n_classes, int(view.max()) + 1), dtype=np.int64)
    live = found.reference >= 0
    np.add.at(members, (found.reference[live], view[live]), 1)
    sizes = members.sum(axis=1)
    commonest = members.argmax(axis=1)
    errors = [
        class_angle_errors(found.poses[rows], true_poses[rows])
        for k in range(n_classes)
        for rows in [np.flatnonzero((found.reference == k) & (view == commonest[k]))]
        if len(rows) > 1
    ]
    all_errors = np.concatenate(errors) if errors else np.array([180.0])
    return ClassQuality(
        purity=float(members.max(axis=1).sum() / max(len(view), 1)),
        views_found=len(np.unique(commonest[sizes > 0])),
        dead_classes=int((sizes < minimum_class_size).sum()),
        effective_classes=effective_classes(sizes),
        angle_error_deg=float(np.median(all_errors)),
        wrong_hand=float(np.mean(all_errors == 180.0)),
    )


def class_angle_errors(found: Poses2D, true: Poses2D) -> np.ndarray:
    """Return (n,) float64, degrees, 0 to 180: in-plane errors of members of one view in one class.

    Found and true frame differ by one rotation and hand for the whole class: the commoner hand
    and the circular median of the angles.
    """
    relative = compose(inverse(true), found)
    hand = relative.mirror.mean() > 0.5
    agrees = relative.mirror == hand
    angle = np.deg2rad(relative.psi_deg[agrees])
    centre = float(np.angle(np.exp(1j * angle).mean()))
    for _ in range(10):
        centre += float(np.median(np.angle(np.exp(1j * (angle - centre)))))
    errors = np.full(len(agrees), 180.0)
    errors[agrees] = np.abs(np.rad2deg(np.angle(np.exp(1j * (angle - centre)))))
    return errors
