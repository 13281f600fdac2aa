# SPDX-License-Identifier: GPL-3.0-or-later
"""Maps about their centre: transforms whose origin is voxel N // 2, other boxes, other voxels.

The sign is e^{-2 pi i}, the forward transform has no factor, the inverse 1 / N^d, as in
`transform`, whose origin is pixel 0.
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


def _ends(half: int) -> tuple[slice, slice]:
    """Return where the frequencies 0 .. half and -half .. -1 are in FFT order."""
    return slice(0, half + 1), slice(-half, None) if half else slice(0, 0)
