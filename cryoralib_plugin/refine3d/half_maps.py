# SPDX-License-Identifier: GPL-3.0-or-later
"""Half maps of one class from its sums: unfiltered, correlated, filtered, joined."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Optional, Tuple

import numpy as np

from cryoralib_plugin.contract.reconstruction import Reconstruction
from cryoralib_plugin.fourier.balance import balanced, balanced_by_transform
from cryoralib_plugin.fourier.fsc import MaskedFsc, fsc, grid_fsc, last_shell_above, masked_fsc
from cryoralib_plugin.fourier.maps import backward_centred, forward_centred
from cryoralib_plugin.fourier.reconstruction import (
    divided,
    even_weights,
    floored,
    reconstruct,
    wiener_weights,
)
from cryoralib_plugin.fourier.shells import grid_shells, shell_counts, shell_index
from cryoralib_plugin.fourier.volume import FourierVolume, map_of
from cryoralib_plugin.kernels.backproject import SliceSums, completed
from cryoralib_plugin.kernels.random import normal

_BALANCE = {"stencil": balanced, "fft": balanced_by_transform}
_PHASES_STREAM = 230
"""Number of the first random stream that makes noise for random phases."""

_SIGNIFICANT = 2.0
"""Correlations below so many standard deviations of those of noise count as none in the filter."""

_ALWAYS_SIGNIFICANT = 0.143
"""Correlations from here on count, however few terms a shell has."""


@dataclass(frozen=True)
class HalfSums:
    """Sums of the slices of a half, and the weights they are divided by.

    Attributes
    ----------
    data : sums of slices.
    weights : (2 m + 1, 2 m + 1, m + 1) float32, floored, balanced where that is wanted.
    """

    data: FourierVolume
    weights: np.ndarray

    @classmethod
    def of(cls, sums: SliceSums, settings: Reconstruction) -> HalfSums:
        """Return the sums of one half, ready to be divided."""
        data, raw = completed(sums)
        weights = floored(raw, data.padding, settings.weight_floor)
        if settings.weight_balancing != "none":
            weights = _BALANCE[settings.weight_balancing](weights)
        return cls(data, weights)

    @property
    def is_empty(self) -> bool:
        """Whether no particle has entered."""
        return not bool((self.weights > 0.0).any())


def unfiltered_halves(first: HalfSums, second: HalfSums) -> np.ndarray:
    """Return both half maps with the least noise, amplitudes kept, (2, N, N, N) float32.

    Grid points that few slices have touched count less within their shell. How much less hardly
    depends on the correlation, so that of the padded spectra, which costs no transform, will do.
    """
    padding = first.data.padding
    curve = grid_fsc(*(divided(half.data, half.weights) for half in (first, second)))
    return np.stack(
        [
            reconstruct(half.data, even_weights(half.weights, padding, curve))
            for half in (first, second)
        ]
    )


def correlation(
    halves: np.ndarray,
    mask: np.ndarray,
    *,
    reconstruct_px: int,
    is_masked: bool,
    key: Tuple[int, int, int],
) -> Tuple[MaskedFsc, np.ndarray]:
    """Return the correlation curves of two maps, and the one that counts, (N // 2 + 1,) float64.

    From the radius on up to which slices were entered there is no correlation: what is there has
    leaked through the mask.

    Parameters
    ----------
    halves : (2, N, N, N) float32.
    mask : (N, N, N) float32.
    reconstruct_px : exclusive radius of the slices.
    is_masked : whether the correlation in the mask counts, freed of the mask's own part. Else the
        curves in the mask are not numbers.
    key : seed, iteration and class, which name the random phases.
    """
    box = halves.shape[-1]
    if is_masked:
        curves = masked_fsc(halves[0], halves[1], mask, _noise(box, key))
    else:
        none = np.full(box // 2 + 1, np.nan)
        curves = MaskedFsc(fsc(*halves), none, none, none, box // 2 + 1)
    used = curves.corrected if is_masked else curves.unmasked
    beyond = np.arange(len(used)) >= reconstruct_px
    return curves, np.where(beyond, 0.0, np.clip(used, -1.0, 1.0))


def significant(curve: np.ndarray, mask: Optional[np.ndarray], order: int) -> np.ndarray:
    """Return a curve with 0 where correlations are those of noise.

    Of the n terms of a shell, the share that the mask leaves over the order of the symmetry is
    independent; correlations of noise have a standard deviation of one over its root.

    Parameters
    ----------
    curve : (N // 2 + 1,) float64.
    mask : (N, N, N) float32, or None for curves of whole maps.
    order : of the symmetry.
    """
    box = 2 * (len(curve) - 1) if mask is None else len(mask)
    share = 1.0 if mask is None else float((mask.astype(np.float64) ** 2).mean())
    deviation = np.sqrt(order / (share * shell_counts(box)))
    lowest = np.minimum(_SIGNIFICANT * deviation, _ALWAYS_SIGNIFICANT)
    passed = np.where(curve >= lowest, curve, 0.0)
    # A single number, the mean, has no correlation worth the name.
    passed[0] = passed[1]
    return passed


def merged_map(first: HalfSums, second: HalfSums, curve: np.ndarray) -> np.ndarray:
    """Return the best map of both halves together, (N, N, N) float32, Wiener filtered."""
    data = FourierVolume(
        first.data.values + second.data.values,
        first.data.box_size_px,
        first.data.padding,
        first.data.max_radius_px,
    )
    weights = first.weights + second.weights
    return reconstruct(data, wiener_weights(weights, data.padding, curve, n_halves=2))


def filtered_halves(
    first: HalfSums, second: HalfSums, curve: np.ndarray, merged: np.ndarray, joined_px: int
) -> np.ndarray:
    """Return what particles of each half are compared with, (2, N, N, N) float32, not masked.

    Wiener filtered by the correlation of this round; shells up to `joined_px` are those of the
    merged map, what lies beyond comes from the half alone.
    """
    box = merged.shape[-1]
    shared = shell_index(box) <= joined_px
    common = forward_centred(merged)
    padding = first.data.padding
    maps = []
    for half in (first, second):
        own = reconstruct(half.data, wiener_weights(half.weights, padding, curve))
        maps.append(backward_centred(np.where(shared, common, forward_centred(own)), box))
    return np.stack(maps).astype(np.float32)


def map_without(rest: HalfSums, other: HalfSums, curve: np.ndarray, joined_px: int) -> np.ndarray:
    """Return the reference of particles that are left out, (N, N, N) float32, not masked.

    Parameters
    ----------
    rest : sums of their half without them.
    other : of the other half.
    curve : correlation of this round, which filters as in :func:`filtered_halves`.
    joined_px : last shell that comes from both halves.
    """
    padding = rest.data.padding
    own = divided(rest.data, wiener_weights(rest.weights, padding, curve))
    both = replace(rest.data, values=rest.data.values + other.data.values)
    weights = wiener_weights(rest.weights + other.weights, padding, curve, n_halves=2)
    shared = grid_shells(rest.weights.shape[2] - 1, padding) <= joined_px
    values = np.where(shared, divided(both, weights).values, own.values)
    return map_of(replace(own, values=values)).astype(np.float32)


def joined_shell(curve: np.ndarray, side_angst: float, settings: Reconstruction) -> int:
    """Return the last shell both halves share: by its resolution, or because they agree."""
    shell = 0
    if settings.join_halves_angst > 0.0:
        shell = int(side_angst / settings.join_halves_angst)
    if settings.join_halves_fsc < 1.0:
        shell = max(shell, last_shell_above(curve, settings.join_halves_fsc))
    return shell


def _noise(box_size_px: int, key: Tuple[int, int, int]) -> Tuple[np.ndarray, np.ndarray]:
    """Return two maps of white noise, drawn section by section."""
    seed, iteration, number = key
    sections = number * box_size_px + np.arange(box_size_px, dtype=np.int64)
    first, second = (
        normal(seed, iteration, _PHASES_STREAM + half, sections, box_size_px**2) for half in (0, 1)
    )
    shape = (box_size_px,) * 3
    return first.reshape(shape), second.reshape(shape)
