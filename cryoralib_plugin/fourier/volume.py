# SPDX-License-Identifier: GPL-3.0-or-later
"""Maps in Fourier space: padded, cropped to a radius, one half of a hermitian cube."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.fft

from cryoralib_plugin.arrays import namespace_of


@dataclass(frozen=True)
class FourierVolume:
    """The spectrum of a map on a grid ``padding`` times finer than its own.

    Attributes
    ----------
    values : (2 m + 1, 2 m + 1, m + 1) complex64, axes z, y, x
        ``values[z + m, y + m, x]`` belongs to the frequency (x, y, z) / padding, Fourier pixels;
        what has x < 0 is the conjugate of its mate. ``m = padding * max_radius_px``.
    box_size_px : N of the map.
    padding : integer factor.
    max_radius_px : Fourier pixels; slices are read and written at |k| < max_radius_px.
    """

    values: Any
    box_size_px: int
    padding: int
    max_radius_px: int


def grid_extent(box_size_px: int, max_radius_px: int, padding: int) -> int:
    """Return m, the largest index of the padded grid that a radius needs.

    Raises
    ------
    ValueError
        If the radius or the padding cannot be.
    """
    largest = (box_size_px - 1) // 2
    if padding < 1 or padding != int(padding):
        raise ValueError(f"padding must be a whole number of 1 or above, but it is {padding}")
    if not 1 <= max_radius_px <= largest or max_radius_px != int(max_radius_px):
        raise ValueError(
            f"the Fourier radius of a box of {box_size_px} px must be a whole number from 1 to "
            f"{largest}, but it is {max_radius_px}"
        )
    return int(padding * max_radius_px)


def fourier_volume(volume: Any, *, max_radius_px: int, padding: int = 2) -> FourierVolume:
    """Return the spectrum of a map, ready to be read by trilinear interpolation.

    The map is divided by the transform of the interpolation kernel (:func:`gridding_response`)
    and padded with zeros. Transforms carry no factor, so slices are the unnormalised spectra of
    projections.

    Parameters
    ----------
    volume : (N, N, N) real, axes z, y, x, origin at voxel N // 2.
    max_radius_px : Fourier pixels, at most (N - 1) // 2.
    padding : integer factor.

    Raises
    ------
    ValueError
        If the map is not a cube, or radius or padding cannot be.
    """
    if volume.ndim != 3 or len(set(volume.shape)) != 1:
        raise ValueError(f"a map must be a cube (N, N, N), but its shape is {tuple(volume.shape)}")
    box = int(volume.shape[0])
    extent = grid_extent(box, max_radius_px, padding)
    xp = namespace_of(volume)
    corrected = volume.astype(xp.float32) / gridding_response(box, padding, xp)
    values = padded_forward(corrected, padding * box, extent)
    return FourierVolume(values, box, int(padding), int(max_radius_px))


def map_of(spectrum: FourierVolume) -> Any:
    """Return the map (N, N, N) float32 of a spectrum that was *inserted* by trilinear weights.

    The kernel that spread the samples is divided out, as :func:`fourier_volume` divides out the
    one that reads them: the two functions are inverse to one another within the radius.
    """
    box = spectrum.box_size_px
    xp = namespace_of(spectrum.values)
    volume = padded_backward(spectrum.values, spectrum.padding * box, box)
    return (volume / gridding_response(box, spectrum.padding, xp)).astype(xp.float32)


def gridding_response(box_size_px: int, padding: int, xp: Any = np) -> Any:
    """Return the transform of the trilinear kernel over a map, (N, N, N) float32.

    ``sinc^2(x / P) sinc^2(y / P) sinc^2(z / P)``, P = padding N, sinc(u) = sin(pi u) / (pi u),
    coordinates from voxel N // 2.
    """
    axis = (np.arange(box_size_px) - box_size_px // 2) / (padding * box_size_px)
    one = xp.asarray(np.sinc(axis) ** 2)
    product = one[:, None, None] * one[None, :, None] * one[None, None, :]
    return product.astype(xp.float32)


def padded_forward(volume: Any, padded_px: int, extent: int) -> Any:
    """Return the centred spectrum (2 m + 1, 2 m + 1, m + 1) complex64 of a map padded to P.

    One axis is transformed after the other and cropped at once, so that the padded cube never
    exists.

    Parameters
    ----------
    volume : (N, N, N) real, origin at voxel N // 2.
    padded_px : P >= N.
    extent : m < P / 2.
    """
    xp = namespace_of(volume)
    fft = _library(xp)
    inside = xp.asarray(np.arange(-extent, extent + 1) % padded_px)
    centre = volume.shape[0] // 2
    phase = _phases(np.arange(-extent, extent + 1), centre / padded_px, xp)
    values = fft.rfft(volume, n=padded_px, axis=2)[:, :, : extent + 1] * phase[extent:]
    values = xp.take(fft.fft(values, n=padded_px, axis=1), inside, axis=1) * phase[:, None]
    values = xp.take(fft.fft(values, n=padded_px, axis=0), inside, axis=0) * phase[:, None, None]
    return values.astype(xp.complex64)


def padded_backward(values: Any, padded_px: int, box_size_px: int) -> Any:
    """Return the part (N, N, N) around the origin of the map of a centred spectrum.

    The transform of size P carries the factor 1 / P^3; the origin is at voxel N // 2.

    Parameters
    ----------
    values : (2 m + 1, 2 m + 1, m + 1) complex, hermitian in the plane x = 0.
    padded_px : P > 2 m.
    box_size_px : N <= P.
    """
    xp = namespace_of(values)
    fft = _library(xp)
    extent = values.shape[2] - 1
    places = xp.asarray(np.arange(-extent, extent + 1) % padded_px)
    phase = _phases(np.arange(-extent, extent + 1), -(box_size_px // 2) / padded_px, xp)
    for axis, turned in ((0, phase[:, None, None]), (1, phase[:, None])):
        shape = list(values.shape)
        shape[axis] = padded_px
        spread = xp.zeros(shape, dtype=xp.complex64)
        spread[(slice(None),) * axis + (places,)] = values * turned
        whole = fft.ifft(spread, axis=axis)
        values = whole[(slice(None),) * axis + (slice(0, box_size_px),)]
    return fft.irfft(values * phase[extent:], n=padded_px, axis=2)[:, :, :box_size_px]


def grid_radius(extent: int, xp: Any = np) -> Any:
    """Return the distance of every grid point from the origin, (2 m + 1, 2 m + 1, m + 1)."""
    axis = xp.arange(-extent, extent + 1, dtype=xp.float32)
    squared = axis**2
    return xp.sqrt(squared[:, None, None] + squared[:, None] + squared[extent:])


def _library(xp: Any) -> Any:
    # NumPy 1.26 would turn float32 into complex128.
    return scipy.fft if xp is np else xp.fft


def _phases(frequency: np.ndarray, offset: float, xp: Any) -> Any:
    return xp.asarray(np.exp(2j * np.pi * frequency * offset)).astype(xp.complex64)
