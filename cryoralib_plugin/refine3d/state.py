# SPDX-License-Identifier: GPL-3.0-or-later
"""What one round of a 3D refinement hands to the next."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Optional, Tuple

import numpy as np

from cryoralib_plugin.fourier.fsc import MaskedFsc

GLOBAL, LOCAL, DEFOCUS = "global", "local", "defocus"
STAGES = (GLOBAL, LOCAL, DEFOCUS)
"""The stages of a refinement, in their order."""


@dataclass(frozen=True)
class Refine3DState:
    """The model after a round: maps, noise and what decides how the next round searches.

    Attributes
    ----------
    iteration : 0 before the first round.
    stage : GLOBAL, LOCAL or DEFOCUS, of the round that made it.
    cutoff_px : exclusive cut-off radius that round compared particles up to, Fourier px.
    references : (n_classes, 2, N, N, N) float32, filtered and flattened, one for each half: what
        particles of the half are compared with next.
    left_out : (n_classes, 2, n_parts, N, N, N) float32, the same without the particles of one part
        of the half: what the particles of that part are compared with. Empty before any round, and
        where halves have one part only: then it is `references`.
    noise_power : (2, n_groups, N // 2 + 1) float64, variance of a real or imaginary part of the
        unnormalised spectrum of the noise, by half, group and shell.
    class_shares : (n_classes,) float64, sum 1.
    fsc : (n_classes, N // 2 + 1) float64, correlation of the half maps, in the mask and freed of
        it where the run asks for that.
    history : (n_rounds, 6) int64, what the schedule remembers of every round so far
        Number of the stage, cut-off, last shell that lets the cut-off grow, last resolved shell,
        particles of a thousand that went to another pose, and of those that changed class.
    mean_score : (2,) float64, of the particles of each half: a particle of that score counts once
        in the map. Not a number before there is any.
    group_scale : (n_groups,) float64, grey scale of the particles of a noise group relative to the
        map: what is compared with them is multiplied by it. Empty before any is known.
    norm : (n_particles,) float64, what the image of each particle of the whole set is multiplied
        by before it is compared. Empty before any is known.
    """

    iteration: int
    stage: str
    cutoff_px: int
    references: np.ndarray
    noise_power: np.ndarray
    class_shares: np.ndarray
    fsc: np.ndarray
    history: np.ndarray = field(default_factory=lambda: np.zeros((0, 6), np.int64))
    left_out: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    mean_score: np.ndarray = field(default_factory=lambda: np.full(2, np.nan))
    group_scale: np.ndarray = field(default_factory=lambda: np.ones(0))
    norm: np.ndarray = field(default_factory=lambda: np.ones(0))

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return len(self.references)

    @property
    def box_size_px(self) -> int:
        """N of the maps."""
        return int(self.references.shape[-1])

    def compared_with(self, half: int, part: int) -> np.ndarray:
        """Return the maps (n_classes, N, N, N) that particles of a part are compared with."""
        return self.left_out[:, half, part] if self.left_out.size else self.references[:, half]

    def grey_scale(
        self, half: int, rows: np.ndarray, group: np.ndarray
    ) -> Tuple[np.ndarray, np.ndarray]:
        """Return what brings images to the grey scale of the map, and their noise there.

        A map that is multiplied by the scale s of a group is compared with an image as the map
        itself with the image over s, whose noise power is that over s^2.

        Parameters
        ----------
        half : of the particles.
        rows : (n,) int64, of the particle table.
        group : (n,) int64, their noise groups.

        Returns
        -------
        factor : (n,) float32, what each image is to be multiplied by.
        noise_power : (n, N // 2 + 1) float64, of the image that has been multiplied.
        """
        norm = self.norm[rows] if len(self.norm) else np.ones(len(rows))
        scale = self.group_scale[group] if len(self.group_scale) else np.ones(len(rows))
        noise_power = self.noise_power[half][group] / scale[:, None] ** 2
        return (norm / scale).astype(np.float32), noise_power


@dataclass(frozen=True)
class RoundMaps:
    """The maps of a round as users want them.

    Attributes
    ----------
    unfiltered_halves : (n_classes, 2, N, N, N) float32.
    merged : (n_classes, N, N, N) float32, from both halves, Wiener filtered, not masked.
    masks : (n_classes, N, N, N) float32, between 0 and 1.
    curves : the correlations of the half maps of each class.
    """

    unfiltered_halves: np.ndarray
    merged: np.ndarray
    masks: np.ndarray
    curves: Tuple[Optional[MaskedFsc], ...]
