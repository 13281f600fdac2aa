# SPDX-License-Identifier: GPL-3.0-or-later
"""Transforms of maps about their centre, padded and cut to a band, and back.

Spectra here have their origin at voxel N // 2 (pixel N // 2 of images), unlike those of
`fourier.transform`: neighbouring terms then differ little and may be interpolated. The sign is
e^{-2 pi i}, the forward transform has no factor, the inverse 1 / N^d.

A *band* is the part of a half spectrum that slices up to a radius read, in rising order:
(2 M + 1, 2 M + 1, M + 1), kz and ky from -M to M, kx from 0 to M, so that term (kz, ky, kx) is at
[kz + M, ky + M, kx]. Its grid is finer than that of an image by the padding factor.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.fft

from cryoralib_plugin.arrays import namespace_of


def check_cube(volumes: Any) -> int:
    """Return the box size N of volumes (..., N, N, N).

    Raises
    ------
    ValueError
        If the last three axes differ.
    """
    if volumes.ndim < 3 or len(set(volumes.shape[-3:])) != 1:
        raise ValueError(
            "a map must be a cube, with axes (..., section, row, column), but its shape is "
            f"{volumes.shape}"
        )
    return int(volumes.shape[-1])


def forward_centred(array: Any, dimensions: int = 3) -> Any:
    """Return half spectra (..., N // 2 + 1 last) about the centre, in FFT order, precision kept.

    Parameters
    ----------
    array : (..., N, N, N) or (..., N, N) real.
    dimensions : 3 for maps, 2 for images.
    """
    xp, axes = namespace_of(array), tuple(range(-dimensions, 0))
    # NumPy 1.26 would turn float32 into complex128.
    library = scipy.fft if xp is np else xp.fft
    return library.rfftn(xp.fft.ifftshift(array, axes=axes), axes=axes)


def backward_centred(spectra: Any, box_size_px: int, dimensions: int = 3) -> Any:
    """Return what `forward_centred` was given, of box N."""
    xp, axes = namespace_of(spectra), tuple(range(-dimensions, 0))
    library = scipy.fft if xp is np else xp.fft
    real = library.irfftn(spectra, s=(box_size_px,) * dimensions, axes=axes)
    return xp.fft.fftshift(real, axes=axes)


def resize_box(volumes: Any, box_size_px: int) -> Any:
    """Return maps in another box of the same voxels, padded with zeros or cropped.

    Voxel N // 2 goes onto voxel n // 2.

    Parameters
    ----------
    volumes : (..., N, N, N).
    box_size_px : n.
    """
    box = check_cube(volumes)
    if box_size_px < 1:
        raise ValueError(f"the new box must be at least 1 px, but it is {box_size_px} px")
    first = box_size_px // 2 - box // 2
    if box_size_px <= box:
        keep = slice(-first, -first + box_size_px)
        return volumes[..., keep, keep, keep]
    put = slice(first, first + box)
    xp = namespace_of(volumes)
    result = xp.zeros(volumes.shape[:-3] + (box_size_px,) * 3, dtype=volumes.dtype)
    result[..., put, put, put] = volumes
    return result


def resample_volume(volumes: Any, box_size_px: int) -> Any:
    """Return maps (..., n, n, n) on finer or coarser voxels: their spectra padded or cut.

    Voxel N // 2 goes onto voxel n // 2, grey values keep their scale, and the voxel size becomes
    N / n times the old. Terms that only one of the boxes has are zero; so is the Nyquist term of
    an even box, which has no partner of the other sign.

    Parameters
    ----------
    volumes : (..., N, N, N) float.
    box_size_px : n, at least 2.
    """
    box = check_cube(volumes)
    if box_size_px < 2:
        raise ValueError(f"the new box must be at least 2 px, but it is {box_size_px} px")
    if box_size_px == box:
        return volumes
    half = (min(box, box_size_px) - 1) // 2
    spectrum = forward_centred(volumes)
    xp = namespace_of(spectrum)
    shape = volumes.shape[:-3] + (box_size_px, box_size_px, box_size_px // 2 + 1)
    result = xp.zeros(shape, dtype=spectrum.dtype)
    for z in _ends(half):
        for y in _ends(half):
            result[..., z, y, : half + 1] = spectrum[..., z, y, : half + 1]
    return backward_centred(result, box_size_px) * volumes.dtype.type((box_size_px / box) ** 3)


def gridding_correction(box_size_px: int, padding_factor: int, xp: Any = np) -> Any:
    """Return what trilinear interpolation in the padded transform multiplies a map by.

    ``sinc^2(x / P) sinc^2(y / P) sinc^2(z / P)``, P = padding factor times N, the transform of
    the trilinear kernel: a map is divided by it before it is projected and after it has been
    reconstructed (Jackson et al., IEEE Trans. Med. Imaging 10, 473 (1991)).

    Returns
    -------
    (N, N, N) float32.
    """
    axis = (xp.arange(box_size_px) - box_size_px // 2) / (padding_factor * box_size_px)
    along = xp.sinc(axis) ** 2
    return (along[:, None, None] * along[:, None] * along).astype(xp.float32)


def band_half_width(max_radius_px: int, padding_factor: int) -> int:
    """Return M, the largest index of a band that slices up to a radius are interpolated from."""
    return padding_factor * max_radius_px + 1


def band_of_volume(volume: Any, *, max_radius_px: int, padding_factor: int = 2) -> Any:
    """Return the band that projections of a map are read from.

    The map is divided by `gridding_correction`, padded with zeros and transformed about its
    centre.

    Parameters
    ----------
    volume : (N, N, N) float.
    max_radius_px : r, largest radius of a slice, in Fourier pixels of the unpadded box.
    padding_factor : whole number.

    Returns
    -------
    (2 M + 1, 2 M + 1, M + 1) complex, M = padding_factor r + 1; precision of the map.

    Raises
    ------
    ValueError
        If the band would reach the Nyquist frequency of the padded box.
    """
    box = check_cube(volume)
    half = _checked_half_width(box, max_radius_px, padding_factor)
    xp = namespace_of(volume)
    corrected = volume / gridding_correction(box, padding_factor, xp).astype(volume.dtype)
    spectrum = forward_centred(resize_box(corrected, padding_factor * box))
    rows = xp.arange(-half, half + 1) % (padding_factor * box)
    return spectrum[rows[:, None], rows[None, :], : half + 1]


def volume_of_band(band: Any, box_size_px: int, *, padding_factor: int = 2) -> Any:
    """Return the map (N, N, N) of a band that slices were inserted into.

    Inserting interpolates as reading does, so the map is divided by `gridding_correction` here
    too: this and `band_of_volume` undo what lies between them, not each other.

    Parameters
    ----------
    band : (2 M + 1, 2 M + 1, M + 1) complex
        Its plane kx = 0 must be Hermitian. All other terms of the padded box are zero.
    box_size_px : N.
    padding_factor : whole number.
    """
    half = band.shape[-1] - 1
    padded = padding_factor * box_size_px
    if band.shape != (2 * half + 1, 2 * half + 1, half + 1) or 2 * half >= padded:
        raise ValueError(
            f"a band for a box of {padded} px must have the shape (2 M + 1, 2 M + 1, M + 1) with "
            f"M below {(padded + 1) // 2}, but its shape is {band.shape}"
        )
    xp = namespace_of(band)
    rows = xp.arange(-half, half + 1) % padded
    spectrum = xp.zeros((padded, padded, padded // 2 + 1), dtype=band.dtype)
    spectrum[rows[:, None], rows[None, :], : half + 1] = band
    volume = resize_box(backward_centred(spectrum, padded), box_size_px)
    return volume / gridding_correction(box_size_px, padding_factor, xp).astype(volume.dtype)


def band_radius(half_width: int, padding_factor: int = 1, xp: Any = np) -> Any:
    """Return |k| of a band's terms, (2 M + 1, 2 M + 1, M + 1) float64, unpadded Fourier pixels."""
    axis = xp.arange(-half_width, half_width + 1) / padding_factor
    along_x = axis[half_width:]
    return xp.sqrt(axis[:, None, None] ** 2 + axis[:, None] ** 2 + along_x**2)


def _checked_half_width(box_size_px: int, max_radius_px: int, padding_factor: int) -> int:
    """Return M, or say why there is no such band."""
    if padding_factor < 1 or padding_factor != int(padding_factor):
        raise ValueError(f"the padding factor must be 1, 2, 3 ..., but it is {padding_factor}")
    half = band_half_width(max_radius_px, padding_factor)
    largest = ((padding_factor * box_size_px - 1) // 2 - 1) // padding_factor
    if not 1 <= max_radius_px <= largest:
        raise ValueError(
            f"the cut-off of projections must be between 1 and {largest} px in a box of "
            f"{box_size_px} px padded {padding_factor} times, but it is {max_radius_px} px"
        )
    return half


def _ends(half: int) -> tuple[slice, slice]:
    """Return where the frequencies 0 .. half and -half .. -1 are in FFT order."""
    return slice(0, half + 1), slice(-half, None) if half else slice(0, 0)
