# SPDX-License-Identifier: GPL-3.0-or-later
"""The support points of particles: what each of them remembers from round to round."""

from __future__ import annotations

from dataclasses import dataclass, fields
from statistics import NormalDist
from typing import Any

import numpy as np

from cryoralib_plugin.geometry.acg import draw_steps, ratio_of_scale
from cryoralib_plugin.geometry.rotations import multiply, normalise
from cryoralib_plugin.kernels.random import normal


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
        cls,
        n: int,
        n_classes: int,
        n_rotations: int,
        n_shifts: int,
        defocus_factor: np.ndarray,
    ) -> PoseCloud:
        """Return clouds of particles whose poses are not known, on the host.

        Parameters
        ----------
        defocus_factor : (n_defoci,) float, the same for all.
        """
        rotations = np.zeros((n, n_classes, n_rotations, 4), np.float32)
        rotations[..., 0] = 1.0
        return cls(
            rotations,
            np.zeros((n, n_classes, n_shifts, 2), np.float32),
            np.tile(defocus_factor.astype(np.float32), (n, n_classes, 1)),
            np.zeros(n, bool),
        )

    def put(self, rows: np.ndarray, clouds: PoseCloud) -> None:
        """Replace the clouds of some particles, in place."""
        for field in fields(self):
            getattr(self, field.name)[rows] = getattr(clouds, field.name)


def even_factors(n: int, std: float) -> np.ndarray:
    """Return n defocus factors, (n,) float64: quantiles of a normal distribution about 1."""
    normal_quantile = NormalDist().inv_cdf
    upper = [normal_quantile((i + 0.5) / n) for i in range(n // 2, n)]
    half = np.array(upper[n % 2 :])
    return 1.0 + std * np.concatenate([-half[::-1], np.zeros(n % 2), half])


@dataclass(frozen=True)
class Spread:
    """How far poses from a file may be wrong, as normal distributions; key of the draws.

    Attributes
    ----------
    angle_deg : scale about each axis of the image.
    shift_px : standard deviation on each axis.
    seed : of the run.
    """

    angle_deg: float
    shift_px: float
    seed: int


def cloud_around(
    rotations: np.ndarray, shift_px: np.ndarray, known: np.ndarray, ids: np.ndarray,
    like: PoseCloud, spread: Spread,
) -> PoseCloud:  # fmt: skip
    """Return clouds around given poses, on the host.

    Parameters
    ----------
    rotations : (n, 4) float.
    shift_px : (n, 2) float.
    known : (n,) bool, which of them are poses at all.
    ids : (n,) int64, what draws are keyed by.
    like : n clouds that tell the numbers of points.
    spread : of the points.
    """
    n_rotations, n_shifts = like.rotations.shape[2], like.shift_px.shape[2]
    draws = normal(spread.seed, 0, 0, ids, 4 * n_rotations + 2 * n_shifts)
    ratio = np.full((len(ids), 3), ratio_of_scale(spread.angle_deg))
    steps = draw_steps(ratio, draws[:, : 4 * n_rotations].reshape(-1, n_rotations, 4))
    moves = spread.shift_px * draws[:, 4 * n_rotations :].reshape(-1, n_shifts, 2)
    placed = PoseCloud(
        like.rotations.copy(), like.shift_px.copy(), like.defocus_factor.copy(), known
    )
    points = normalise(multiply(rotations[:, None], steps))
    placed.rotations[known] = points[known, None]
    if n_shifts > 1:
        placed.shift_px[known] = (shift_px[:, None] + moves)[known, None]
    return placed
