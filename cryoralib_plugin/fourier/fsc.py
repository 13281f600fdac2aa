# SPDX-License-Identifier: GPL-3.0-or-later
"""Fourier shell correlation of half maps, and what of it is due to a common mask."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Optional, Tuple

import numpy as np

from cryoralib_plugin.arrays import namespace_of

from .maps import backward_centred, check_cube, forward_centred
from .masks3d import check_mask
from .shells import grid_shells, shell_index, shell_sums, spectrum_sums
from .volume import FourierVolume

_RELIABLE = 0.8
"""Phases are randomised beyond the shell where the unmasked curve falls below this."""

_MARGIN = 2
"""Shells after that which are left uncorrected: a mask mixes neighbouring shells."""


@dataclass(frozen=True)
class MaskedFsc:
    """Curves of two half maps, each (N // 2 + 1,) float64, shell i at i / N cycles per pixel.

    Attributes
    ----------
    unmasked, masked : as they are, and inside the mask.
    randomised : inside the mask, with random phases from ``first_random_shell`` on; what is left
        there is the mask's own contribution.
    corrected : masked, without that contribution.
    first_random_shell : Fourier pixels.
    """

    unmasked: Any
    masked: Any
    randomised: Any
    corrected: Any
    first_random_shell: int


def fsc(first: Any, second: Any, mask: Optional[Any] = None) -> Any:
    """Return the Fourier shell correlation of two maps, (N // 2 + 1,) float64.

    ``FSC_i = sum Re(F G*) / sqrt(sum |F|^2 sum |G|^2)`` over the shell of |k| rounded to i,
    counted over the full transform (Harauz and van Heel, Optik 73, 146 (1986)). For independent
    white noise the standard deviation of shell i is ``1 / sqrt(n_i)``, `shells.shell_counts`. A
    shell without power in either map has no correlation: 0. `frc.resolution_from_curve` gives the
    resolution of a curve.

    Parameters
    ----------
    first, second : (N, N, N) float.
    mask : (N, N, N) float, multiplies both.

    Raises
    ------
    ValueError
        If the shapes differ, or the mask does not fit.
    """
    if first.shape != second.shape:
        raise ValueError(
            f"maps to correlate must have one shape, but they are {first.shape} and {second.shape}"
        )
    xp, box = namespace_of(first, second), check_cube(first)
    if mask is not None:
        check_mask(mask, box)
        first, second = first * mask, second * mask
    f, g = (forward_centred(volume.astype(xp.float64)) for volume in (first, second))
    terms = ((f * g.conj()).real, xp.abs(f) ** 2, xp.abs(g) ** 2)
    return _ratio(*(spectrum_sums(values, box) for values in terms))


def grid_fsc(first: FourierVolume, second: FourierVolume) -> Any:
    """Return the correlation of two spectra on one padded grid, shells 0 to the radius, float64."""
    xp = namespace_of(first.values, second.values)
    shells = grid_shells(first.values.shape[2] - 1, first.padding, xp)
    terms = (
        (first.values * second.values.conj()).real,
        xp.abs(first.values) ** 2,
        xp.abs(second.values) ** 2,
    )
    return _ratio(*(shell_sums(values, shells, first.max_radius_px + 1) for values in terms))


def last_shell_above(curve: Any, threshold: float) -> int:
    """Return the last shell up to which a curve stays at or above a threshold; 0 if it never is.

    Shell 0, the mean, is ignored. THUNDER counts resolution in these shells.
    """
    below = np.flatnonzero(~(np.asarray(curve.tolist())[1:] >= threshold))
    return int(below[0]) if below.size else len(curve) - 1


def randomise_phases(volume: Any, first_shell: int, noise: Any) -> Any:
    """Return a map (N, N, N) of the same amplitudes, whose phases from a shell on are noise's.

    Parameters
    ----------
    volume : (N, N, N) float.
    first_shell : Fourier pixels; terms with |k| rounded below it are kept.
    noise : (N, N, N) float
        White noise (`kernels.random.normal`), whose phases are random and those of a real map.
    """
    box = check_cube(volume)
    if noise.shape != volume.shape:
        raise ValueError(
            f"the noise must have the shape of the map, {volume.shape}, but it is {noise.shape}"
        )
    xp = namespace_of(volume, noise)
    spectrum, phases = forward_centred(volume), forward_centred(noise)
    length = xp.abs(phases)
    phases = xp.where(length > 0.0, phases / xp.where(length > 0.0, length, 1.0), 1.0)
    random = xp.abs(spectrum) * phases.astype(spectrum.dtype)
    kept = shell_index(box, xp) < first_shell
    return backward_centred(xp.where(kept, spectrum, random), box)


def masked_fsc(first: Any, second: Any, mask: Any, noise: Tuple[Any, Any]) -> MaskedFsc:
    """Return the correlation of half maps inside a mask, freed of what the mask itself adds.

    With r the curve of maps whose phases are random beyond the last shell of 0.8 or more,
    ``(masked - r) / (1 - r)`` from two shells after it on, and the masked curve before (Chen et
    al., Ultramicroscopy 135, 24 (2013)).

    Parameters
    ----------
    first, second : (N, N, N) float.
    mask : (N, N, N) float, between 0 and 1, with a soft edge.
    noise : two (N, N, N) float, independent white noise.
    """
    unmasked, masked = fsc(first, second), fsc(first, second, mask)
    first_random = last_shell_above(unmasked, _RELIABLE) + 1
    randomised = fsc(
        randomise_phases(first, first_random, noise[0]),
        randomise_phases(second, first_random, noise[1]),
        mask,
    )
    xp = namespace_of(masked)
    gap = xp.maximum(1.0 - randomised, 1e-6)
    changed = xp.arange(len(masked)) >= first_random + _MARGIN
    corrected = xp.where(changed, (masked - randomised) / gap, masked)
    return MaskedFsc(unmasked, masked, randomised, corrected, first_random)


def _ratio(cross: Any, power_first: Any, power_second: Any) -> Any:
    """Return the correlation of sums over shells; 0 where there is no power."""
    xp = namespace_of(cross)
    power = xp.sqrt(power_first * power_second)
    return xp.where(power > 0.0, cross / xp.where(power > 0.0, power, 1.0), 0.0)
