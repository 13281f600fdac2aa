# SPDX-License-Identifier: GPL-3.0-or-later
"""Concentric rings on which images are resampled for rotational matching."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class RingLayout:
    """Radii, lengths and weights of the polar rings (SPARX ``Numrinit`` and ``ringwe``).

    Attributes
    ----------
    radii_px : (n_rings,) int64, pixels, ascending.
    lengths : (n_rings,) int64, samples on each ring: the smallest power of two strictly
        greater than the rounded circumference, so that no ring is undersampled.
    """

    radii_px: np.ndarray
    lengths: np.ndarray

    @classmethod
    def from_radii(cls, inner_radius_px: int, outer_radius_px: int, step_px: int = 1) -> RingLayout:
        """Return the rings of radius inner, inner + step, ... up to and including outer.

        Raises
        ------
        ValueError
            If the radii do not satisfy 1 <= inner <= outer or the step is below 1.
        """
        if not 1 <= inner_radius_px <= outer_radius_px:
            raise ValueError(
                "ring radii must satisfy 1 <= inner <= outer, but inner is "
                f"{inner_radius_px} px and outer is {outer_radius_px} px"
            )
        if step_px < 1:
            raise ValueError(f"the ring step must be at least 1 px, but it is {step_px} px")
        radii = np.arange(inner_radius_px, outer_radius_px + 1, step_px, dtype=np.int64)
        circumference = np.floor(2.0 * np.pi * radii + 0.5)
        lengths = 2 ** (np.floor(np.log2(circumference)).astype(np.int64) + 1)
        return cls(radii, lengths)

    @property
    def n_rings(self) -> int:
        """Number of rings."""
        return len(self.radii_px)

    @property
    def n_angles(self) -> int:
        """Length of the longest ring: the number of in-plane angles that are compared."""
        return int(self.lengths[-1])

    @property
    def starts(self) -> np.ndarray:
        """(n_rings,) int64, first sample of each ring in the packed one-dimensional buffer."""
        return np.concatenate(([0], np.cumsum(self.lengths)[:-1]))

    @property
    def n_samples(self) -> int:
        """Samples on all rings together."""
        return int(self.lengths.sum())

    @property
    def sample_weights(self) -> np.ndarray:
        """(n_rings,) float64, area in square pixels that one sample of each ring stands for."""
        return 2.0 * np.pi * self.radii_px / self.lengths

    @property
    def outer_radius_px(self) -> int:
        """Radius of the last ring, pixels."""
        return int(self.radii_px[-1])

    def unit_circle(self, length: int) -> np.ndarray:
        """Return (length, 2) float64 x, y of a ring of radius one.

        Sample 0 lies on +y and the angle grows towards +x, as in SPARX.
        """
        angle = 2.0 * np.pi * np.arange(length) / length
        return np.stack([np.sin(angle), np.cos(angle)], axis=1)
