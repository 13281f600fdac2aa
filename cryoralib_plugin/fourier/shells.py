# SPDX-License-Identifier: GPL-3.0-or-later
"""Spherical shells of the transforms of maps: sums, means and filters that depend on |k| alone."""

from __future__ import annotations

from typing import Any

import numpy as np

from cryoralib_plugin.arrays import namespace_of

from .filters import cosine_step
from .maps import backward_centred, check_cube, forward_centred
from .transform import half_plane_weights
from .volume import grid_radius


def shell_radius(box_size_px: int, xp: Any = np) -> Any:
    """Return |k| of half spectra of maps in Fourier pixels, (N, N, N // 2 + 1) float32."""
    k = xp.rint(xp.fft.fftfreq(box_size_px) * box_size_px).astype(xp.float32)
    k_x = xp.arange(box_size_px // 2 + 1, dtype=xp.float32)
    return xp.sqrt(k[:, None, None] ** 2 + k[:, None] ** 2 + k_x**2)


def shell_index(box_size_px: int, xp: Any = np) -> Any:
    """Return the shell of each term, (N, N, N // 2 + 1) int64: |k| rounded to nearest."""
    return xp.rint(shell_radius(box_size_px, xp)).astype(xp.int64)


def grid_shells(extent: int, padding: int, xp: Any = np) -> Any:
    """Return the shell of each point of a padded half grid, (2 m + 1, 2 m + 1, m + 1) int64.

    Shell s is |k| / padding rounded to s, so shells are those of the unpadded map.

    Parameters
    ----------
    extent, padding : m and the padding of a `volume.FourierVolume`.
    """
    return xp.rint(grid_radius(extent, xp) / padding).astype(xp.int64)


def shell_sums(values: Any, shells: Any, n_shells: int) -> Any:
    """Return sums over shells of the whole cube, (n_shells,) float64.

    Parameters
    ----------
    values : (..., n_x) real, on a half grid whose last axis is x >= 0; equal at k and -k.
    shells : integers of the same shape; what lies at ``n_shells`` or beyond is left out.
    n_shells : number of shells.
    """
    xp = namespace_of(values, shells)
    twice = xp.full(values.shape[-1], 2.0)
    twice[0] = 1.0
    return _sums(values.astype(xp.float64) * twice, shells, n_shells)


def shell_means(values: Any, shells: Any) -> Any:
    """Return means over shells of the whole cube, (largest shell + 1,) float64."""
    xp = namespace_of(values, shells)
    n_shells = int(shells.max()) + 1
    counts = shell_sums(xp.ones(values.shape), shells, n_shells)
    return shell_sums(values, shells, n_shells) / xp.maximum(counts, 1.0)


def spectrum_sums(values: Any, box_size_px: int) -> Any:
    """Return sums over shells of the full transform of a map, (N // 2 + 1,) float64.

    Parameters
    ----------
    values : (N, N, N // 2 + 1) real, in FFT order; equal at k and -k.
    box_size_px : N. The last column of an even box stands for both signs of Nyquist.
    """
    xp = namespace_of(values)
    weighted = values.astype(xp.float64) * half_plane_weights(box_size_px, xp)
    return _sums(weighted, shell_index(box_size_px, xp), box_size_px // 2 + 1)


def shell_counts(box_size_px: int, xp: Any = np) -> Any:
    """Return the number of terms of the full transform in each shell, (N // 2 + 1,) float64."""
    return spectrum_sums(xp.ones((box_size_px, box_size_px, box_size_px // 2 + 1)), box_size_px)


def power_spectrum(volume: Any) -> Any:
    """Return the mean of |F|^2 over each shell of a map (N, N, N), (N // 2 + 1,) float64."""
    xp, box = namespace_of(volume), check_cube(volume)
    power = xp.abs(forward_centred(volume)) ** 2
    return spectrum_sums(power, box) / shell_counts(box, xp)


def filter_shells(volume: Any, profile: Any) -> Any:
    """Return a map (N, N, N) whose terms are multiplied by a function of |k|.

    Parameters
    ----------
    volume : (N, N, N) float.
    profile : (n,) float
        Values at |k| = 0, 1, 2 ... Fourier pixels, interpolated linearly; the last one holds
        beyond.
    """
    xp, box = namespace_of(volume, profile), check_cube(volume)
    radius = shell_radius(box, xp)
    shells = xp.arange(len(profile), dtype=xp.float64)
    factor = xp.interp(radius.ravel(), shells, profile).reshape(radius.shape)
    spectrum = forward_centred(volume)
    return backward_centred(spectrum * factor.astype(spectrum.real.dtype), box)


def lowpass_volume(volume: Any, pixel_size_angst: float, resolution_angst: float) -> Any:
    """Return a map (N, N, N) without detail finer than a resolution.

    A raised cosine, four Fourier pixels wide, with the value one half at the resolution; the same
    as `filters.bandpass` has for images. Resolutions beyond Nyquist leave the map as it is.

    Parameters
    ----------
    volume : (N, N, N) float.
    pixel_size_angst : Angstrom per voxel.
    resolution_angst : above 0, Angstrom.

    Raises
    ------
    ValueError
        If a size is not positive.
    """
    if pixel_size_angst <= 0.0 or resolution_angst <= 0.0:
        raise ValueError(
            "pixel size and resolution of a low-pass filter must be positive, but they are "
            f"{pixel_size_angst} A and {resolution_angst} A"
        )
    xp, box = namespace_of(volume), check_cube(volume)
    if resolution_angst <= 2.0 * pixel_size_angst:
        return volume
    edge = box * pixel_size_angst / resolution_angst
    factor = 1.0 - cosine_step(shell_radius(box, xp), edge)
    spectrum = forward_centred(volume)
    return backward_centred(spectrum * factor.astype(spectrum.real.dtype), box)


def _sums(weighted: Any, shells: Any, n_shells: int) -> Any:
    """Return sums by shell; what lies beyond the last one is left out."""
    xp = namespace_of(weighted, shells)
    labels = xp.minimum(shells, n_shells).reshape(-1)
    return xp.bincount(labels, weights=weighted.reshape(-1), minlength=n_shells + 1)[:n_shells]
