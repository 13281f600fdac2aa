# SPDX-License-Identifier: GPL-3.0-or-later
"""The terms of an image's half spectrum inside a band, each independent term once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from cryoralib_plugin.arrays import namespace_of


@dataclass(frozen=True)
class HalfPlaneTerms:
    """A list of n terms of the half plane kx >= 0.

    Attributes
    ----------
    kx, ky : (n,) int32, Fourier pixels.
    shell : (n,) int32, |k| rounded to nearest.
    """

    kx: Any
    ky: Any
    shell: Any

    def __len__(self) -> int:
        return len(self.kx)

    def take(self, spectra: Any) -> Any:
        """Return the listed terms, (..., n), of half spectra (..., N, N // 2 + 1) in FFT order."""
        return spectra[..., self.ky % spectra.shape[-2], self.kx]

    def put(self, terms: Any, box_size_px: int) -> Any:
        """Return half spectra (..., N, N // 2 + 1) that hold the terms (..., n), else zero.

        The partners of terms with kx = 0 are filled in, so that the image is real.
        """
        xp = namespace_of(terms)
        shape = terms.shape[:-1] + (box_size_px, box_size_px // 2 + 1)
        spectra = xp.zeros(shape, dtype=terms.dtype)
        spectra[..., self.ky % box_size_px, self.kx] = terms
        edge = self.kx == 0
        spectra[..., -self.ky[edge] % box_size_px, 0] = terms[..., edge].conj()
        return spectra


def half_plane_terms(max_radius_px: int, min_radius_px: int = 0, xp: Any = np) -> HalfPlaneTerms:
    """Return the terms with ``min_radius <= |k| < max_radius``, each pair k, -k once.

    kx >= 0, and ky >= 0 where kx = 0; rows in order of ky, so that the list does not depend on the
    box. About ``pi (max^2 - min^2) / 2`` terms. A real image has independent real and imaginary
    parts there, except at k = 0.

    Parameters
    ----------
    max_radius_px, min_radius_px : Fourier pixels; the image's box must exceed 2 max_radius_px - 2.

    Raises
    ------
    ValueError
        If nothing lies between the radii.
    """
    if not 0 <= min_radius_px < max_radius_px:
        raise ValueError(
            "a band of frequencies needs 0 <= lowest < highest radius, but they are "
            f"{min_radius_px} and {max_radius_px} Fourier px"
        )
    ky = xp.arange(1 - max_radius_px, max_radius_px)[:, None]
    kx = xp.arange(max_radius_px)[None, :]
    radius_2 = ky**2 + kx**2
    inside = (radius_2 >= min_radius_px**2) & (radius_2 < max_radius_px**2)
    inside &= (kx > 0) | (ky >= 0)
    rows, columns = xp.nonzero(inside)
    shell = xp.rint(xp.sqrt(radius_2[rows, columns]))
    return HalfPlaneTerms(
        columns.astype(xp.int32),
        (rows + 1 - max_radius_px).astype(xp.int32),
        shell.astype(xp.int32),
    )
