# SPDX-License-Identifier: GPL-3.0-or-later
"""Fourier ring correlation and the resolution it stands for."""

from __future__ import annotations

from typing import Any

import numpy as np

from cryoralib_plugin.arrays import namespace_of

from .transform import check_square, forward, half_plane_weights, ring_index


def ring_sums(values: Any, box_size_px: int) -> Any:
    """Return sums over Fourier rings of the full plane, (..., N // 2 + 1) float64.

    Parameters
    ----------
    values : (..., N, N // 2 + 1) real
        A function of half spectra that is the same at k and -k.
    """
    xp = namespace_of(values)
    n_rings = box_size_px // 2 + 1
    ring = ring_index(box_size_px, xp)
    inside = ring < n_rings
    weighted = (values * half_plane_weights(box_size_px, xp))[..., inside]
    rows = weighted.reshape(-1, weighted.shape[-1])
    labels = ring[inside][None, :] + n_rings * xp.arange(len(rows))[:, None]
    sums = xp.bincount(labels.ravel(), weights=rows.ravel(), minlength=n_rings * len(rows))
    return sums.reshape(values.shape[:-2] + (n_rings,))


def ring_counts(box_size_px: int) -> np.ndarray:
    """Return the number of terms of the full plane in each ring, (N // 2 + 1,) int64."""
    ones = np.ones((box_size_px, box_size_px // 2 + 1))
    return np.rint(ring_sums(ones, box_size_px)).astype(np.int64)


def frc(first: Any, second: Any) -> tuple[Any, np.ndarray]:
    """Return the Fourier ring correlation of image pairs and the terms in each ring.

    ``FRC_i = sum Re(F G*) / sqrt(sum |F|^2 sum |G|^2)`` over the ring of |k| N rounded to i, at
    i / N cycles per pixel up to i = N // 2 (SPARX ``fsc`` with w = 1). For independent white noise
    the standard deviation of ring i is ``1 / sqrt(counts[i])``. A ring without power in either
    image has no correlation: 0.

    Parameters
    ----------
    first, second : (..., N, N) float, same shape.

    Returns
    -------
    curve : (..., N // 2 + 1) float64.
    counts : (N // 2 + 1,) int64.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    if first.shape != second.shape:
        raise ValueError(
            "images to correlate must have one shape, but they are "
            f"{first.shape} and {second.shape}"
        )
    xp = namespace_of(first, second)
    box = check_square(first)
    f = forward(first.astype(xp.float64))
    g = forward(second.astype(xp.float64))
    cross = ring_sums((f * g.conj()).real, box)
    power = xp.sqrt(ring_sums(xp.abs(f) ** 2, box) * ring_sums(xp.abs(g) ** 2, box))
    curve = xp.where(power > 0.0, cross / xp.where(power > 0.0, power, 1.0), 0.0)
    return curve, ring_counts(box)


def resolution_from_curve(
    curve: Any, box_size_px: int, pixel_size_angst: float, *, threshold: float = 0.143
) -> np.ndarray:
    """Return where correlation curves first fall below a threshold, Angstrom.

    Linear interpolation between rings. Twice the pixel size (Nyquist) if a curve never falls
    below; infinity if it is below in ring 1 already, that is if nothing is resolved.

    Parameters
    ----------
    curve : (..., N // 2 + 1) float
        Ring 0, the mean, is ignored.
    box_size_px : N.
    pixel_size_angst : Angstrom per pixel.
    threshold : 0.143 for halves of the data, 0.5 against a reference.

    Returns
    -------
    (...,) float64.
    """
    rings = np.asarray(curve, dtype=np.float64)
    below = rings[..., 1:] < threshold
    ring = np.where(below.any(axis=-1), below.argmax(axis=-1) + 1, rings.shape[-1])
    after = np.minimum(ring, rings.shape[-1] - 1)[..., None]
    low = np.take_along_axis(rings, after - 1, axis=-1)[..., 0]
    high = np.take_along_axis(rings, after, axis=-1)[..., 0]
    drop = np.where(low > high, low - high, 1.0)
    crossing = ring - 1 + np.clip((low - threshold) / drop, 0.0, 1.0)
    crossing = np.where(ring == rings.shape[-1], box_size_px / 2, crossing)
    with np.errstate(divide="ignore"):
        return np.where(ring == 1, np.inf, box_size_px * pixel_size_angst / crossing)
