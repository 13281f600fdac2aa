# SPDX-License-Identifier: GPL-3.0-or-later
"""Classes of maps: how large they are, how they begin to differ, and how none dies out."""

from __future__ import annotations

import logging
from typing import List, Tuple

import numpy as np

from cryoralib_plugin.fourier.shells import lowpass_volume
from cryoralib_plugin.geometry.map_symmetry import symmetrise_map
from cryoralib_plugin.kernels.random import normal

logger = logging.getLogger(__name__)

_STREAM = 240
_LARGEST_CONTRAST = 0.3
"""Relative standard deviation of the density that tells copies of a map apart, at most."""

_FAINT_NATS = 0.5
"""By how much a particle's log-likelihood differs between two copies, in the mean over particles
that one of them explains."""

_FEATURES_PER_BOX = 5.0
"""Waves across the box of the finest of these differences."""


def class_shares(mass: np.ndarray, smallest: float) -> Tuple[np.ndarray, List[Tuple[int, int]]]:
    """Return shares (n_classes,) that add up to 1, and the classes to be made anew.

    Parameters
    ----------
    mass : (n_classes,) float or int, sums of the particles' probabilities.
    smallest : least share, as a part of an even one.

    Returns
    -------
    shares
        An emptied class has half of what the largest had.
    rescued
        (emptied class, class it is a copy of), each from 0.
    """
    n_classes = len(mass)
    total = float(mass.sum())
    shares = mass / total if total > 0.0 else np.full(n_classes, 1.0 / n_classes)
    rescued = []
    for k in np.argsort(shares, kind="stable"):
        if shares[k] >= smallest / n_classes:
            break
        largest = int(np.argmax(shares))
        shares[k] = shares[largest] = (shares[k] + shares[largest]) / 2
        rescued.append((int(k), largest))
        logger.info(
            "class %d has hardly any particles left: it takes half of class %d", k + 1, largest + 1
        )
    return shares / shares.sum(), rescued


def faint_contrast(information: float) -> float:
    """Return the contrast c of copies that differ less than a particle can tell for sure.

    Two copies ``V (1 + c g)`` with independent densities g of unit variance differ by ``2 c^2`` of
    the power of V, so the log-likelihoods of a particle differ by ``2 c^2 I`` in the mean, with I
    its information, ``1/2 sum |C A|^2 / sigma^2``. Below one unit classes begin as nearly even
    shares of all particles, and each round strengthens the differences that particles show most.
    Beyond it particles would settle on the density, which is arbitrary, and stay with it.

    Parameters
    ----------
    information : of `image_power.projected_information`.
    """
    if information <= 0.0:
        return _LARGEST_CONTRAST
    return min(_LARGEST_CONTRAST, float(np.sqrt(_FAINT_NATS / (2.0 * information))))


def told_apart(
    volumes: np.ndarray,
    number: int,
    *,
    key: Tuple[int, int],
    operators: np.ndarray,
    contrast: float,
) -> np.ndarray:
    """Return copies of maps that differ slightly from any other copies, like ``volumes``.

    They are multiplied by a smooth density about 1 with some waves across the box, so that parts
    of the molecule gain and others lose weight. Particles then prefer one copy or the other by
    what they have more or less of; identical copies would share them evenly for ever. The same
    density for both halves keeps the classes of the halves the same; the halves stay independent.

    Parameters
    ----------
    volumes : (..., N, N, N) float32.
    number : of the copy, from 0.
    key : seed and iteration.
    operators : (order, 4) float64, of the symmetry, which the copies keep.
    contrast : relative standard deviation of the density, see :func:`faint_contrast`.
    """
    seed, iteration = key
    box = volumes.shape[-1]
    sections = number * box + np.arange(box, dtype=np.int64)
    white = normal(seed, iteration, _STREAM, sections, box * box).reshape((box,) * 3)
    smooth = symmetrise_map(lowpass_volume(white, 1.0, box / _FEATURES_PER_BOX), operators)
    smooth = smooth - smooth.mean()
    factor = 1.0 + contrast * smooth / smooth.std()
    return (volumes * factor).astype(np.float32)
