# SPDX-License-Identifier: GPL-3.0-or-later
"""The support points of particles: what each of them remembers from round to round."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from cryoralib_plugin.arrays import namespace_of


@dataclass(frozen=True)
class PoseCloud:
    """Equally likely support points of n particles, one cloud for each class.

    A cloud is a product: every rotation goes with every shift and every defocus.

    Attributes
    ----------
    rotations : (n, n_classes, n_rotations, 4) float32, w x y z.
    shift_px : (n, n_classes, n_shifts, 2) float32, x and y.
    defocus_factor : (n, n_classes, n_defoci) float32, what the given defocus is multiplied by.
    known : (n,) bool, whether the points say anything; a particle without a pose has none yet.
    """

    rotations: Any
    shift_px: Any
    defocus_factor: Any
    known: Any

    def __len__(self) -> int:
        return len(self.known)

    def __getitem__(self, rows: Any) -> PoseCloud:
        """Return the clouds of the given particles (a slice, mask or index array)."""
        return PoseCloud(*(getattr(self, field.name)[rows] for field in fields(self)))

    @classmethod
    def unknown(
        cls, n: int, n_classes: int, n_rotations: int, n_shifts: int, n_defoci: int
    ) -> PoseCloud:
        """Return clouds of particles whose poses are not known, on the host."""
        rotations = np.zeros((n, n_classes, n_rotations, 4), np.float32)
        rotations[..., 0] = 1.0
        return cls(
            rotations,
            np.zeros((n, n_classes, n_shifts, 2), np.float32),
            np.ones((n, n_classes, n_defoci), np.float32),
            np.zeros(n, bool),
        )

    def put(self, rows: np.ndarray, clouds: PoseCloud) -> None:
        """Replace the clouds of some particles, in place."""
        for field in fields(self):
            getattr(self, field.name)[rows] = getattr(clouds, field.name)


def cloud_around(
    rotations: np.ndarray, shift_px: np.ndarray, known: np.ndarray, cloud: PoseCloud
) -> PoseCloud:
    """Return clouds whose points all lie on the given poses, of the size of others.

    Parameters
    ----------
    rotations : (n, 4) float.
    shift_px : (n, 2) float.
    known : (n,) bool, which of them are poses at all.
    cloud : n clouds that tell the numbers of points.
    """
    xp = namespace_of(cloud.rotations)
    placed = PoseCloud(
        cloud.rotations.copy(), cloud.shift_px.copy(), cloud.defocus_factor.copy(), known
    )
    rows = xp.flatnonzero(known)
    placed.rotations[rows] = rotations[rows, None, None]
    placed.shift_px[rows] = shift_px[rows, None, None]
    return placed
