# SPDX-License-Identifier: GPL-3.0-or-later
"""The Fourier transform convention, and the frequencies that belong to it.

Forward transforms have the sign e^{-2 pi i} and no factor; the inverse carries 1 / N^2. Spectra of
real images are kept in half: (..., N, N // 2 + 1), rows ky in FFT order, columns kx >= 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.fft

from cryoralib_plugin.arrays import namespace_of


def forward(images: Any) -> Any:
    """Return the half spectra (..., N, N // 2 + 1) of real images (..., N, N), precision kept."""
    xp = namespace_of(images)
    # NumPy 1.26 would turn float32 into complex128.
    library = scipy.fft if xp is np else xp.fft
    return library.rfft2(images)


def backward(spectra: Any, box_size_px: int) -> Any:
    """Return the real images (..., N, N) of half spectra (..., N, N // 2 + 1), precision kept."""
    xp = namespace_of(spectra)
    library = scipy.fft if xp is np else xp.fft
    return library.irfft2(spectra, s=(box_size_px, box_size_px))


def frequencies(box_size_px: int, xp: Any = np) -> tuple[Any, Any]:
    """Return ky (N, 1) and kx (1, N // 2 + 1) of half spectra, float64, cycles per pixel."""
    return xp.fft.fftfreq(box_size_px)[:, None], xp.fft.rfftfreq(box_size_px)[None, :]


def radial_frequency(box_size_px: int, xp: Any = np) -> Any:
    """Return |k| of half spectra, (N, N // 2 + 1) float64, cycles per pixel."""
    ky, kx = frequencies(box_size_px, xp)
    return xp.sqrt(ky**2 + kx**2)


def ring_index(box_size_px: int, xp: Any = np) -> Any:
    """Return the Fourier ring of each term, (N, N // 2 + 1) int64: |k| N rounded to nearest."""
    return xp.rint(radial_frequency(box_size_px, xp) * box_size_px).astype(xp.int64)


def half_plane_weights(box_size_px: int, xp: Any = np) -> Any:
    """Return (N // 2 + 1,) float64: 1 or 2, the terms of the full plane a column stands for."""
    weights = xp.full(box_size_px // 2 + 1, 2.0)
    weights[0] = 1.0
    if box_size_px % 2 == 0:
        weights[-1] = 1.0
    return weights


def check_square(images: Any) -> int:
    """Return the box size N of images (..., N, N).

    Raises
    ------
    ValueError
        If the last two axes differ.
    """
    if images.ndim < 2 or images.shape[-1] != images.shape[-2]:
        raise ValueError(
            "images must be square, with axes (..., row, column), but their shape is "
            f"{images.shape}"
        )
    return int(images.shape[-1])
