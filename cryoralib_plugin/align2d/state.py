# SPDX-License-Identifier: GPL-3.0-or-later
"""What one iteration hands to the next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from cryoralib_plugin.geometry.rigid2d import Poses2D


@dataclass(frozen=True)
class Align2DState:
    """Class averages after an iteration.

    Attributes
    ----------
    iteration : 0 before the first.
    averages : (n_classes, N, N) float32, filtered and centred: the next references.
    half_averages : (n_classes, 2, N, N) float32, unfiltered, centred alike.
    frc : (n_classes, N // 2 + 1) float64, Fourier ring correlation of the halves.
    counts : (n_classes, 2) int64, members in each half.
    """

    iteration: int
    averages: np.ndarray
    half_averages: np.ndarray
    frc: np.ndarray
    counts: np.ndarray

    @property
    def n_classes(self) -> int:
        """Number of classes, dead ones included."""
        return len(self.averages)

    @property
    def sizes(self) -> np.ndarray:
        """(n_classes,) int64, members of each class."""
        return self.counts.sum(axis=1)


@dataclass(frozen=True)
class Assignments:
    """Class, pose and score of n particles.

    Attributes
    ----------
    reference : (n,) int32, class from 0; -1 for a particle that belongs to none.
    poses : n poses onto the class average.
    score : (n,) float64, correlation with the reference at the peak.
    """

    reference: np.ndarray
    poses: Poses2D
    score: np.ndarray

    @classmethod
    def none(cls, n: int) -> Assignments:
        """Return n particles without class or pose."""
        return cls(np.full(n, -1, dtype=np.int32), Poses2D.identity(n), np.zeros(n))

    def __len__(self) -> int:
        return len(self.reference)

    def __getitem__(self, rows: Any) -> Assignments:
        """Return the assignments of the given rows."""
        return Assignments(self.reference[rows], self.poses[rows], self.score[rows])

    def with_rows(self, rows: Any, other: Assignments) -> Assignments:
        """Return a copy in which the given rows are those of `other`."""

        def replaced(mine: np.ndarray, theirs: np.ndarray) -> np.ndarray:
            copy = mine.copy()
            copy[rows] = theirs
            return copy

        poses = Poses2D(
            replaced(self.poses.psi_deg, other.poses.psi_deg),
            replaced(self.poses.shift_px, other.poses.shift_px),
            replaced(self.poses.mirror, other.poses.mirror),
        )
        return Assignments(
            replaced(self.reference, other.reference), poses, replaced(self.score, other.score)
        )
