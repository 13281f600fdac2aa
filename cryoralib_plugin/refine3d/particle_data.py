# SPDX-License-Identifier: GPL-3.0-or-later
"""A batch of particles in Fourier space, as the filter and the reconstruction need them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from cryoralib_plugin.arrays import namespace_of
from cryoralib_plugin.fourier.band import FourierBand, band_spectra
from cryoralib_plugin.kernels.score import WhitenedParticles
from cryoralib_plugin.optics.ctf import CtfParameters, ctf_in_band


@dataclass(frozen=True)
class ParticleData:
    """Whitened spectra of n particles in a band.

    Attributes
    ----------
    ids : (n,) int64, what random draws are keyed by.
    spectra : (n, n_terms) complex64, over the standard deviation of the noise.
    inverse_sigma : (n, n_terms) float32, one over that.
    optics : of the particles, as given.
    band : the terms.
    pixel_size_angst : of the images.
    """

    ids: Any
    spectra: Any
    inverse_sigma: Any
    optics: CtfParameters
    band: FourierBand
    pixel_size_angst: float

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, rows: Any) -> ParticleData:
        """Return some of the particles (a slice, mask or index array)."""
        return ParticleData(
            self.ids[rows], self.spectra[rows], self.inverse_sigma[rows], self.optics[rows],
            self.band, self.pixel_size_angst,
        )  # fmt: skip

    def within(self, lowest_px: int, highest_px: int) -> ParticleData:
        """Return the same particles in a narrower band."""
        xp = namespace_of(self.spectra)
        band = FourierBand.between(self.band.box_size_px, lowest_px, highest_px)
        squared = self.band.kx.astype(np.int64) ** 2 + self.band.ky.astype(np.int64) ** 2
        kept = xp.asarray(np.flatnonzero((squared >= lowest_px**2) & (squared < highest_px**2)))
        return ParticleData(
            self.ids, xp.take(self.spectra, kept, axis=1),
            xp.take(self.inverse_sigma, kept, axis=1), self.optics, band, self.pixel_size_angst,
        )  # fmt: skip

    def ctf(self, defocus_factor: Any) -> Any:
        """Return CTFs over sigma, (n, n_defoci, n_terms) float32.

        Parameters
        ----------
        defocus_factor : (n, n_defoci) float, what both defoci of a particle are multiplied by.
        """
        xp = namespace_of(self.spectra)
        n, n_defoci = defocus_factor.shape
        each = self.optics[xp.repeat(xp.arange(n), n_defoci)]
        factor = defocus_factor.reshape(-1)
        changed = CtfParameters(
            each.defocus_u_angst * factor,
            each.defocus_v_angst * factor,
            each.defocus_angle_deg,
            each.voltage_kv,
            each.cs_mm,
            each.amplitude_contrast,
            each.phase_shift_deg,
        )
        values = ctf_in_band(changed, self.band, self.pixel_size_angst)
        return values.reshape(n, n_defoci, -1) * self.inverse_sigma[:, None]

    def whitened(self, defocus_factor: Any) -> WhitenedParticles:
        """Return what the likelihood needs, for some defoci of each particle."""
        return WhitenedParticles(self.spectra, self.ctf(defocus_factor))


def particle_data(
    images: Any,
    ids: Any,
    optics: CtfParameters,
    noise_power: Any,
    band: FourierBand,
    pixel_size_angst: float,
) -> ParticleData:
    """Return whitened spectra of images.

    Parameters
    ----------
    images : (n, N, N) float32.
    ids : (n,) int64.
    optics : of the particles; arrays on the images' device.
    noise_power : (n, N // 2 + 1) float64, variance of a real or imaginary part, by shell.
    band : the terms.
    pixel_size_angst : of the images.
    """
    xp = namespace_of(images)
    shell_scale = (1.0 / xp.sqrt(noise_power)).astype(xp.float32)
    inverse_sigma = xp.take(shell_scale, xp.asarray(band.shell), axis=1)
    spectra = band_spectra(images, band) * inverse_sigma
    return ParticleData(ids, spectra, inverse_sigma, optics, band, pixel_size_angst)
