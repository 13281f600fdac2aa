# SPDX-License-Identifier: GPL-3.0-or-later
"""How well slices of a map explain particles: logarithms of likelihoods, as matrix products.

With whitened data X (spectrum over the noise's standard deviation sigma) and C (CTF over sigma),
slices S and shift phases phi, the log-likelihood of one rotation, shift and defocus is

    -1/2 sum |X - C S phi|^2 = const + Re sum conj(X) C S phi - 1/2 sum C^2 |S|^2

over the terms of a band, sigma^2 being the noise variance of a real or imaginary part. The constant
``-1/2 sum |X|^2`` is left out everywhere. The first sum is a real matrix product over (real,
imaginary) pairs, the second one does not depend on the shift.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cryoralib_plugin.arrays import namespace_of
from cryoralib_plugin.fourier.band import FourierBand, shift_phases
from cryoralib_plugin.fourier.volume import FourierVolume
from cryoralib_plugin.kernels._dispatch import twin_of
from cryoralib_plugin.kernels.project import check_grid, check_rotations


@dataclass(frozen=True)
class WhitenedParticles:
    """What the likelihood needs of n particles in a band.

    Attributes
    ----------
    spectra : (n, n_terms) complex64, origin at pixel N // 2, over sigma.
    ctf : (n, n_defoci, n_terms) float32, CTF over sigma, one for each defocus in question.
    """

    spectra: Any
    ctf: Any

    def __getitem__(self, rows: Any) -> WhitenedParticles:
        """Return the given particles (a slice, mask or index array)."""
        return WhitenedParticles(self.spectra[rows], self.ctf[rows])


def whiten(spectra: Any, ctf: Any, noise_power: Any) -> WhitenedParticles:
    """Return particles over the standard deviation of their noise.

    Parameters
    ----------
    spectra : (n, n_terms) complex64.
    ctf : (n, n_defoci, n_terms) float32.
    noise_power : (n, n_terms) or (n_terms,) float, sigma^2 of a real or imaginary part.

    Raises
    ------
    ValueError
        If a shape does not fit or a noise power is not positive.
    """
    xp = namespace_of(spectra, ctf, noise_power)
    _check_particles(spectra, ctf)
    if not bool((noise_power > 0.0).all()):
        raise ValueError("the noise power must be positive in every shell of the band")
    weight = (1.0 / xp.sqrt(noise_power.astype(xp.float64))).astype(xp.float32)
    return WhitenedParticles(spectra * weight, ctf * weight.reshape(-1, 1, weight.shape[-1]))


def matched_filters(particles: WhitenedParticles, shift_px: Any, band: FourierBand) -> Any:
    """Return ``X C conj(phi)`` for every particle, defocus and shift.

    Its real scalar product with a slice is the first sum of the log-likelihood.

    Parameters
    ----------
    particles : n of them.
    shift_px : (n_shifts, 2), the same for all, or (n, n_shifts, 2); x and y, pixels.
    band : the terms.

    Returns
    -------
    (n, n_shifts, n_defoci, n_terms) complex64.
    """
    phases = shift_phases(shift_px, band).conj()
    data = particles.spectra[:, None, :] * particles.ctf
    return data[:, None] * (phases[..., None, :] if phases.ndim == 3 else phases[None, :, None])


def local_scores(
    volume: FourierVolume,
    particles: WhitenedParticles,
    rotations: Any,
    shift_px: Any,
    band: FourierBand,
) -> Any:
    """Return the log-likelihood of every support point of every particle, without its constant.

    Each particle has rotations and shifts of its own; all combinations with its defoci count.

    Parameters
    ----------
    volume : spectrum of the map.
    particles : n of them.
    rotations : (n, n_rotations, 3, 3) real.
    shift_px : (n, n_shifts, 2) float, x and y, pixels; conventions section 4.
    band : the terms.

    Returns
    -------
    (n, n_rotations, n_shifts, n_defoci) float32.

    Raises
    ------
    ValueError
        If shapes do not fit.
    """
    xp = namespace_of(particles.spectra, rotations, shift_px)
    _check_particles(particles.spectra, particles.ctf)
    rotations = xp.ascontiguousarray(rotations, xp.float32)
    check_rotations(rotations)
    n, n_terms = particles.spectra.shape
    if rotations.ndim != 4 or rotations.shape[0] != n:
        raise ValueError(
            f"rotations must have shape ({n}, n_rotations, 3, 3), but have {tuple(rotations.shape)}"
        )
    if shift_px.ndim != 3 or shift_px.shape[0] != n or shift_px.shape[2] != 2:
        raise ValueError(
            f"shift_px must have shape ({n}, n_shifts, 2), but has {tuple(shift_px.shape)}"
        )
    check_grid(volume, band)
    twin = twin_of(
        __name__, volume=volume.values, spectra=particles.spectra, rotations=rotations,
        shift_px=shift_px,
    )  # fmt: skip
    scores = xp.empty(
        (n, rotations.shape[1], shift_px.shape[1], particles.ctf.shape[1]), xp.float32
    )
    twin.write_local_scores(scores, volume, particles, rotations, shift_px, band)
    return scores


def real_pairs(values: Any) -> Any:
    """Return complex64 (..., n_terms) as float32 (..., 2 n_terms): real, imaginary, real, ..."""
    xp = namespace_of(values)
    return xp.ascontiguousarray(values).view(xp.float32)


def real_planes(values: Any) -> Any:
    """Return complex64 (..., n_terms) as float32 (..., 2, n_terms): all real parts, then the other
    ones."""
    xp = namespace_of(values)
    return xp.stack([values.real, values.imag], axis=-2)


def power_of(slices: Any) -> Any:
    """Return ``|S|^2`` as float32."""
    return slices.real * slices.real + slices.imag * slices.imag


def _check_particles(spectra: Any, ctf: Any) -> None:
    n, n_terms = spectra.shape
    if ctf.ndim != 3 or (ctf.shape[0], ctf.shape[2]) != (n, n_terms):
        raise ValueError(
            f"ctf must have shape ({n}, n_defoci, {n_terms}), but has {tuple(ctf.shape)}"
        )
