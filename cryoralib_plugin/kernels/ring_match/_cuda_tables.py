# SPDX-License-Identifier: GPL-3.0-or-later
"""What every launch of one search reads: rings, twiddle factors and references on the device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from cryoralib_plugin.kernels.polar.cpu import sample_positions

from .plan import MatchPlan
from .references import ReferenceRings

# The transforms of a block live in 48 KiB of shared memory together with its four sums.
LONGEST_RING = 2048


@dataclass(frozen=True)
class DeviceTables:
    """Device copies of a search's constants; complex numbers stand for pairs x, y.

    Attributes
    ----------
    positions32, positions64 : (n_samples,) complex, x + i y of all ring samples, pixels.
    areas32, areas64 : (n_samples,) area that each sample stands for, square pixels.
    ring_of_sample, bin_of_sample : (n_samples,) int32, ring, and angle bin of the longest ring.
    step_bits : (n_rings,) int32, log2(n_angles / L).
    radii : (n_rings,) float32, pixels.
    turns : by ring length, (length,) complex64 ``exp(2 pi i j / length)``.
    first_ring : (n_harmonics,) int32, as in ReferenceRings.
    reference_spectra, reference_starts, reference_tables : as in ReferenceRings.
    """

    positions32: Any
    positions64: Any
    areas32: Any
    areas64: Any
    ring_of_sample: Any
    bin_of_sample: Any
    step_bits: Any
    radii: Any
    turns: dict[int, Any]
    first_ring: Any
    reference_spectra: Any
    reference_starts: Any
    reference_tables: Any

    @classmethod
    def build(cls, xp: Any, references: ReferenceRings, plan: MatchPlan) -> DeviceTables:
        """Bring the constants of a search to the device of array module ``xp``.

        Raises
        ------
        ValueError
            If the longest ring is too long for a block's shared memory.
        """
        rings = plan.rings
        if rings.n_angles > LONGEST_RING:
            raise ValueError(
                f"on a GPU the outer radius must be at most 325 px, but it is "
                f"{rings.outer_radius_px} px: downsample the particles or use the CPU backend"
            )
        positions = np.array([1.0, 1.0j]) @ sample_positions(rings)
        areas = np.repeat(rings.sample_weights, rings.lengths)
        bins = np.concatenate(
            [np.arange(length) * (rings.n_angles // length) for length in rings.lengths]
        )
        return cls(
            positions32=xp.asarray(positions, dtype=np.complex64),
            positions64=xp.asarray(positions),
            areas32=xp.asarray(areas, dtype=np.float32),
            areas64=xp.asarray(areas),
            ring_of_sample=xp.asarray(
                np.repeat(np.arange(rings.n_rings), rings.lengths), dtype=np.int32
            ),
            bin_of_sample=xp.asarray(bins, dtype=np.int32),
            step_bits=xp.asarray(np.log2(rings.n_angles // rings.lengths), dtype=np.int32),
            radii=xp.asarray(rings.radii_px, dtype=np.float32),
            turns={
                int(length): xp.asarray(
                    np.exp(2j * np.pi * np.arange(length) / length), dtype=np.complex64
                )
                for length in np.unique(rings.lengths)
            },
            first_ring=xp.asarray(references.first_ring, dtype=np.int32),
            reference_spectra=xp.asarray(references.spectra, dtype=np.float32),
            reference_starts=xp.asarray(references.starts, dtype=np.int64),
            reference_tables=xp.asarray(references.tables, dtype=np.float64),
        )
