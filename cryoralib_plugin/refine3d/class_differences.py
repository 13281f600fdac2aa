# SPDX-License-Identifier: GPL-3.0-or-later
"""What classes differ by counts as far as it is the same in both halves."""

from __future__ import annotations

import numpy as np

from cryoralib_plugin.fourier.fsc import fsc
from cryoralib_plugin.fourier.shells import filter_shells

from .half_maps import significant


def difference_filters(
    unfiltered: np.ndarray,
    mask: np.ndarray,
    curves: np.ndarray,
    weights: np.ndarray,
    *,
    first_px: int,
    order: int,
) -> np.ndarray:
    """Return what shells of the differences of classes from their mean are multiplied by.

    The Wiener filter of a class lets detail pass that its halves have in common. Most of it all
    classes have in common too, and what is left, ``V_k - mean``, may be noise there: noise of
    the very particles that are compared with it, which then stay where they are. The difference
    has a correlation of its own between the halves, F_d, and in place of F_k of the class its
    filter is F_d: the prior of a class is the mean of all, not zero. What is missing is the factor
    ``F_d / F_k``, at most 1; it never rises again towards finer detail.

    In shells of the first round it is 1: halves share them, so that their correlation tells
    nothing, and classes could never begin to differ.

    Parameters
    ----------
    unfiltered : (n_classes, 2, N, N, N) float32, half maps.
    mask : (N, N, N) float32, around all classes.
    curves : (n_classes, N // 2 + 1) float64, F_k; 0 everywhere for a class without a new map.
    weights : (n_classes,) float64, sum 1, of the classes in the mean.
    first_px : exclusive cut-off of the first round.
    order : of the symmetry.

    Returns
    -------
    (n_classes, N // 2 + 1) float64, between 0 and 1.
    """
    factors = np.ones_like(curves)
    mean = np.tensordot(weights, unfiltered, axes=1)
    shells = np.arange(curves.shape[1])
    for k, curve in enumerate(curves):
        if not curve.any():
            continue
        difference = unfiltered[k] - mean
        reproduced = significant(fsc(difference[0], difference[1], mask), mask, order)
        ratio = np.where(curve > 0.0, reproduced / np.where(curve > 0.0, curve, 1.0), 0.0)
        ratio = np.where(shells < first_px, 1.0, np.clip(ratio, 0.0, 1.0))
        factors[k] = np.minimum.accumulate(ratio)
    return factors


def filtered_differences(
    references: np.ndarray, weights: np.ndarray, factors: np.ndarray
) -> np.ndarray:
    """Return references whose differences from their mean are multiplied by factors of shells.

    Parameters
    ----------
    references : (n_classes, ..., N, N, N) float32, or (n_classes, 0) for none.
    weights : (n_classes,) float64, sum 1, of the classes in the mean.
    factors : (n_classes, N // 2 + 1) float64, of :func:`difference_filters`.
    """
    result = references.copy()
    if not references.size:
        return result
    mean = np.tensordot(weights, references.astype(np.float64), axes=1)
    for k, factor in enumerate(factors):
        if (factor == 1.0).all():
            continue
        for one in np.ndindex(references.shape[1:-3]):
            result[k][one] = mean[one] + filter_shells(references[k][one] - mean[one], factor)
    return result
