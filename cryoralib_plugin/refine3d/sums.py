# SPDX-License-Identifier: GPL-3.0-or-later
"""What the particles of a rank add up to in a round: integers, so that no order matters."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Callable, Tuple

import numpy as np

from cryoralib_plugin.kernels.backproject import SliceSums

POWER_UNIT = 2.0**-24
"""Unit of the fixed-point noise sums, relative to the noise power the round began with."""


@dataclass(frozen=True)
class NoiseSums:
    """Residual power of particles after the expected projection is taken away.

    Attributes
    ----------
    power : (2, n_groups, N // 2 + 1) int64
        Sums over particles of the mean of ``1/2 |X - C A|^2`` over each shell, by half and group,
        relative to the noise power the round began with, in units of POWER_UNIT.
    cross, reference_power : (2, n_groups) int64, sums of ``Re conj(C A) X`` and ``|C A|^2`` over
        the noise power, in units of POWER_UNIT: their ratio is the intensity of the group.
    counts : (2, n_groups) int64, particles.
    """

    power: np.ndarray
    cross: np.ndarray
    reference_power: np.ndarray
    counts: np.ndarray

    @classmethod
    def zeros(cls, n_groups: int, box_size_px: int) -> NoiseSums:
        """Return empty sums."""
        pair = np.zeros((2, n_groups), np.int64)
        power = np.zeros((2, n_groups, box_size_px // 2 + 1), np.int64)
        return cls(power, pair, pair.copy(), pair.copy())


@dataclass(frozen=True)
class RoundSums:
    """All sums of a round.

    Attributes
    ----------
    parts : for each class, half and part of the half; data are ``weight conj(phase) C X /
        sigma^2``, weights are ``weight C^2 / sigma^2``, entered with every operator of the
        symmetry. They are on the device while particles enter; all else is on the host.
    noise : of the residuals.
    class_mass : (n_classes,) int64, sums of the particles' probabilities of each class, in units
        of POWER_UNIT.
    residual : (n_particles,) int64, of each particle of the whole set the mean power that is left,
        relative to its noise, in units of POWER_UNIT; 0 where it was not used.
    """

    parts: Tuple[Tuple[Tuple[SliceSums, ...], ...], ...]
    noise: NoiseSums
    class_mass: np.ndarray
    residual: np.ndarray

    @property
    def slices(self) -> Tuple[Tuple[SliceSums, ...], ...]:
        """The sums of whole halves, for each class and half."""
        return tuple(tuple(together(half) for half in halves) for halves in self.parts)

    def on_host(self, device: Any) -> RoundSums:
        """Return the sums with those of the slices brought to the host."""
        return replace(self, parts=_each(self.parts, device.to_host))

    def total(self, comm: Any) -> RoundSums:
        """Return the sums over all ranks, on every rank."""
        return replace(
            self,
            parts=_each(self.parts, comm.sum),
            noise=comm.sum(self.noise),
            class_mass=comm.sum(self.class_mass),
            residual=comm.sum(self.residual),
        )


def together(parts: Tuple[SliceSums, ...]) -> SliceSums:
    """Return the sums of all parts."""
    if len(parts) == 1:
        return parts[0]
    return replace(
        parts[0], data=sum(one.data for one in parts), weight=sum(one.weight for one in parts)
    )


def without(whole: SliceSums, part: SliceSums) -> SliceSums:
    """Return sums less a part of them; exact, for they are integers."""
    return replace(whole, data=whole.data - part.data, weight=whole.weight - part.weight)


def _each(parts: Any, change: Callable[[SliceSums], SliceSums]) -> Any:
    return tuple(tuple(tuple(change(one) for one in half) for half in halves) for halves in parts)
