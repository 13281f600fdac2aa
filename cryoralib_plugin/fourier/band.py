# SPDX-License-Identifier: GPL-3.0-or-later
"""The terms of an image's spectrum that a comparison or a reconstruction uses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from cryoralib_plugin.arrays import namespace_of

from .transform import backward, check_square, forward


@dataclass(frozen=True)
class FourierBand:
    """The independent Fourier terms of a real image between two radii.

    Of k and -k, which carry the same information, only one is listed: kx > 0, or kx = 0 and
    ky >= 0. The terms go row by row, ky ascending, kx ascending in a row.

    Attributes
    ----------
    box_size_px : N of the images.
    lowest_px, highest_px : ``lowest_px <= |k| < highest_px``, Fourier pixels.
    kx, ky : (n_terms,) int32 on the host, Fourier pixels.
    """

    box_size_px: int
    lowest_px: int
    highest_px: int
    kx: np.ndarray
    ky: np.ndarray

    @classmethod
    def between(cls, box_size_px: int, lowest_px: int, highest_px: int) -> FourierBand:
        """Return the band ``lowest_px <= |k| < highest_px``.

        Raises
        ------
        ValueError
            If the band is empty or reaches the Nyquist frequency, whose terms stand for two
            frequencies at once.
        """
        largest = (box_size_px - 1) // 2
        if not 0 <= lowest_px < highest_px <= largest:
            raise ValueError(
                f"a band of a box of {box_size_px} px must begin at 0 or above and end at "
                f"{largest} Fourier px at most, but it goes from {lowest_px} to {highest_px}"
            )
        axis = np.arange(highest_px)
        ky, kx = np.meshgrid(np.arange(1 - highest_px, highest_px), axis, indexing="ij")
        squared = kx**2 + ky**2
        kept = (squared >= lowest_px**2) & (squared < highest_px**2) & ((kx > 0) | (ky >= 0))
        return cls(
            int(box_size_px),
            int(lowest_px),
            int(highest_px),
            kx[kept].astype(np.int32),
            ky[kept].astype(np.int32),
        )

    @property
    def n_terms(self) -> int:
        """Number of terms."""
        return len(self.kx)

    @property
    def shell(self) -> np.ndarray:
        """Fourier ring of each term, (n_terms,) int64: |k| rounded to nearest."""
        return np.rint(np.hypot(self.kx, self.ky)).astype(np.int64)


def band_values(half_spectra: Any, band: FourierBand) -> Any:
    """Return the values (..., n_terms) of half spectra (..., N, N // 2 + 1) in a band."""
    xp = namespace_of(half_spectra)
    box = half_spectra.shape[-2]
    if box != band.box_size_px:
        raise ValueError(
            f"the band belongs to a box of {band.box_size_px} px, but the spectra to one of {box}"
        )
    flat = half_spectra.reshape(half_spectra.shape[:-2] + (-1,))
    return xp.take(flat, xp.asarray(_flat_places(band)), axis=-1)


def band_spectra(images: Any, band: FourierBand) -> Any:
    """Return the spectra of images in a band, with the origin at pixel N // 2.

    ``X(k) = sum_x f(x) exp(-2 pi i k (x - N // 2) / N)``, so that the spectrum of a centred
    particle is a central slice of its map's (projection-slice theorem).

    Parameters
    ----------
    images : (..., N, N) real.
    band : of the same box.

    Returns
    -------
    (..., n_terms) complex, the images' precision.
    """
    check_square(images)
    values = band_values(forward(images), band)
    return values * _to_centre(band, values)


def band_images(spectra: Any, band: FourierBand) -> Any:
    """Return the images (..., N, N) whose spectra in the band are given; zero outside it."""
    xp = namespace_of(spectra)
    box = band.box_size_px
    lead = spectra.shape[:-1]
    half = xp.zeros((*lead, box * (box // 2 + 1)), dtype=spectra.dtype)
    moved = spectra * _to_centre(band, spectra).conj()
    half[..., xp.asarray(_flat_places(band))] = moved
    # The column kx = 0 holds both of k and -k.
    mates = np.flatnonzero((band.kx == 0) & (band.ky > 0))
    places = (box - band.ky[mates]).astype(np.int64) * (box // 2 + 1)
    half[..., xp.asarray(places)] = xp.take(moved, xp.asarray(mates), axis=-1).conj()
    return backward(half.reshape((*lead, box, box // 2 + 1)), box)


def shift_phases(shift_px: Any, band: FourierBand) -> Any:
    """Return ``exp(2 pi i k s / N)``, what a pose's shift s does to the slice it explains.

    A particle of shift s shows its content displaced by -s (conventions, section 4).

    Parameters
    ----------
    shift_px : (..., 2) float, x and y, pixels.
    band : the terms.

    Returns
    -------
    (..., n_terms) complex64.
    """
    xp = namespace_of(shift_px)
    tables, middle = phase_tables(shift_px, band), band.highest_px - 1
    kx, ky = (xp.asarray(middle + k) for k in (band.kx, band.ky))
    return xp.take(tables[..., 0, :], kx, axis=-1) * xp.take(tables[..., 1, :], ky, axis=-1)


def mean_shift_phases(shift_px: Any, weight: Any, band: FourierBand) -> Any:
    """Return the weighted sum of `shift_phases` over the shifts of each particle.

    As products of the factors of both axes, which hold far fewer numbers than all phases.

    Parameters
    ----------
    shift_px : (n, n_shifts, 2) float, x and y, pixels.
    weight : (n, n_shifts) float.
    band : the terms.

    Returns
    -------
    (n, n_terms) complex64.
    """
    xp = namespace_of(shift_px, weight)
    tables, middle = phase_tables(shift_px, band), band.highest_px - 1
    # Terms have no negative kx.
    along_x = tables[:, :, 0, middle:] * weight.astype(xp.float32)[..., None]
    sums = xp.matmul(along_x.swapaxes(1, 2), tables[:, :, 1])
    places = band.kx.astype(np.int64) * tables.shape[-1] + middle + band.ky
    return xp.take(sums.reshape(len(sums), -1), xp.asarray(places), axis=1)


def phase_tables(shift_px: Any, band: FourierBand) -> Any:
    """Return the factors of `shift_phases` for each axis, from two of which a phase is made.

    Exponentials of every term would take ten times as long.

    Parameters
    ----------
    shift_px : (..., 2) float, x and y, pixels.
    band : the terms.

    Returns
    -------
    (..., 2, 2 highest_px - 1) complex64, ``exp(2 pi i k s / N)`` for k from ``1 - highest_px``.
    """
    xp = namespace_of(shift_px)
    k = xp.arange(1 - band.highest_px, band.highest_px)
    turns = shift_px.astype(xp.float64)[..., None] * k / band.box_size_px
    return xp.exp(2j * np.pi * turns).astype(xp.complex64)


def _flat_places(band: FourierBand) -> np.ndarray:
    """Return the index of each term in a flattened half spectrum, (n_terms,) int64."""
    columns = band.box_size_px // 2 + 1
    return (band.ky.astype(np.int64) % band.box_size_px) * columns + band.kx


def _to_centre(band: FourierBand, like: Any) -> Any:
    """Return the factors that move the origin from pixel 0 to pixel N // 2."""
    xp = namespace_of(like)
    box = band.box_size_px
    turns = (band.kx + band.ky).astype(np.int64) * (box // 2) % box / box
    return xp.asarray(np.exp(2j * np.pi * turns)).astype(like.dtype)
