# SPDX-License-Identifier: GPL-3.0-or-later
"""Isotropic filters, and the shift and crop that are products in Fourier space."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import minimize

from cryoralib_plugin.arrays import namespace_of

from .transform import backward, check_square, forward, frequencies, radial_frequency

NEVER_BELOW_HALF = (0.4, 0.2)
"""Cutoff and falloff of SPARX where the correlation stays above one half up to Nyquist."""


def tanh_profile(frequency_per_px: Any, cutoff_per_px: float, falloff: float) -> Any:
    """Return the hyperbolic-tangent low-pass at the given frequencies (SPARX ``filt_tanl``).

    ``H(f) = [tanh(kappa (f + c)) - tanh(kappa (f - c))] / 2``, ``kappa = pi / (2 falloff c)``.

    Parameters
    ----------
    frequency_per_px : any shape, float, cycles per pixel.
    cutoff_per_px : c, cycles per pixel, above 0
        H is about one half there.
    falloff : above 0
        Width of the edge relative to the cutoff.
    """
    if cutoff_per_px <= 0.0 or falloff <= 0.0:
        raise ValueError(
            "cutoff and falloff of a tanh filter must be positive, but they are "
            f"{cutoff_per_px} per px and {falloff}"
        )
    xp = namespace_of(frequency_per_px)
    kappa = np.pi / (2.0 * falloff * cutoff_per_px)
    rise = xp.tanh(kappa * (frequency_per_px + cutoff_per_px))
    return 0.5 * (rise - xp.tanh(kappa * (frequency_per_px - cutoff_per_px)))


def tanh_lowpass(box_size_px: int, cutoff_per_px: float, falloff: float, xp: Any = np) -> Any:
    """Return the tanh low-pass as factors of half spectra, (N, N // 2 + 1) float32."""
    profile = tanh_profile(radial_frequency(box_size_px, xp), cutoff_per_px, falloff)
    return profile.astype(xp.float32)


def fit_tanh(frc: np.ndarray, lowest: float = 0.1) -> tuple[float, float]:
    """Return the cutoff (cycles per pixel) and falloff of the tanh filter that a curve asks for.

    As SPARX ``fit_tanh``: the least-squares fit by Nelder-Mead to ``2 FRC / (1 + FRC)``, the
    correlation of the full average with its noiseless self squared, set to zero from the first
    ring where it is below ``lowest``. SPARX's constants are returned where the curve
    never falls below one half.

    Parameters
    ----------
    frc : (n_rings,) float, ring i at i / (2 (n_rings - 1)) cycles per pixel.
    lowest : where the curve ends.
    """
    frequency = np.linspace(0.0, 0.5, len(frc))
    half_sets = np.maximum(np.asarray(frc, dtype=np.float64), -0.99)
    half_sets[0] = abs(half_sets[0])
    target = 2.0 * half_sets / (1.0 + half_sets)
    below = np.flatnonzero(target[1:] < lowest)
    if below.size:
        target[below[0] + 1 :] = 0.0
    low = np.flatnonzero(target[1:-1] < 0.5)
    if not low.size:
        return NEVER_BELOW_HALF
    start = np.array([frequency[low[0]], 0.1])

    def misfit(parameters: np.ndarray) -> float:
        cutoff, falloff = parameters
        if cutoff <= 0.0 or falloff <= 0.0:
            return float((target**2).sum())
        return float(((target - tanh_profile(frequency, cutoff, falloff)) ** 2).sum())

    simplex = start + np.array([[0.0, 0.0], [0.05, 0.0], [0.0, 0.05]])
    options = {"initial_simplex": simplex, "xatol": 1e-4, "fatol": 1e-4, "maxiter": 500}
    cutoff, falloff = minimize(misfit, start, method="Nelder-Mead", options=options).x
    if cutoff <= 0.0 or falloff <= 0.0:
        # Not even the first ring correlates: keep a filter that still passes something.
        return float(frequency[1]), 0.1
    return float(cutoff), float(falloff)


def bandpass(
    box_size_px: int,
    pixel_size_angst: float,
    *,
    highpass_angst: float = 0.0,
    lowpass_angst: float = 0.0,
    xp: Any = np,
) -> Any:
    """Return a band-pass with raised-cosine edges as factors of half spectra.

    The edges are four Fourier pixels wide (narrower where the band itself starts below that) and
    have the value one half at the given resolutions, so a cutoff means the same for every box.

    Parameters
    ----------
    box_size_px : N.
    pixel_size_angst : Angstrom per pixel.
    highpass_angst : coarsest detail that is kept, Angstrom; 0 keeps everything coarse.
    lowpass_angst : finest detail that is kept, Angstrom; 0 keeps everything fine.

    Returns
    -------
    (N, N // 2 + 1) float32.

    Raises
    ------
    ValueError
        If a bound is negative or nothing lies between the two.
    """
    if highpass_angst < 0.0 or lowpass_angst < 0.0:
        raise ValueError(
            "the limits of a band-pass must not be negative, but they are "
            f"{highpass_angst} A (high-pass) and {lowpass_angst} A (low-pass)"
        )
    if 0.0 < highpass_angst <= lowpass_angst:
        raise ValueError(
            f"the high-pass limit ({highpass_angst} A) must be coarser, that is larger, than the "
            f"low-pass limit ({lowpass_angst} A): nothing is left between them"
        )
    ring = radial_frequency(box_size_px, xp) * box_size_px
    side_angst = box_size_px * pixel_size_angst
    response = xp.ones(ring.shape)
    if lowpass_angst > 0.0:
        response = response * (1.0 - cosine_step(ring, side_angst / lowpass_angst))
    if highpass_angst > 0.0:
        response = response * cosine_step(ring, side_angst / highpass_angst)
    return response.astype(xp.float32)


def apply_filter(images: Any, response: Any) -> Any:
    """Return images (..., N, N) filtered by factors (..., N, N // 2 + 1) of their half spectra."""
    return backward(forward(images) * response, check_square(images))


def fourier_shift(images: Any, shift_px: Any) -> Any:
    """Return images whose content has moved by ``shift_px``, periodic at the frame.

    A whole-pixel shift is exactly a roll. The Nyquist terms of an even box, whose two signs are
    one sample, get the mean of both phases, so that the result is real.

    Parameters
    ----------
    images : (..., N, N) float.
    shift_px : (..., 2) float, x and y, pixels.
    """
    box = check_square(images)
    xp = namespace_of(images)
    ky, kx = frequencies(box, xp)
    shift = xp.asarray(shift_px, dtype=xp.float64)[..., None]
    along_x = _shift_phase(kx[0], shift[..., 0, :], xp)[..., None, :]
    along_y = _shift_phase(ky[:, 0], shift[..., 1, :], xp)[..., :, None]
    spectra = forward(images)
    return backward(spectra * (along_y * along_x).astype(spectra.dtype), box)


def fourier_crop(images: Any, box_size_px: int) -> Any:
    """Return images resampled to a smaller box of coarser pixels by cutting their spectra.

    Pixel N // 2 goes onto pixel n // 2, grey values keep their scale, and the pixel size grows
    by N / n. Detail beyond the new Nyquist frequency is lost; at it, both signs are averaged.

    Parameters
    ----------
    images : (..., N, N) float.
    box_size_px : n, new box size, at most N.

    Raises
    ------
    ValueError
        If the new box is not between 2 and N.
    """
    box, new = check_square(images), int(box_size_px)
    if not 2 <= new <= box:
        raise ValueError(f"the cropped box must be between 2 and {box} px, but it is {new} px")
    if new == box:
        return images
    xp = namespace_of(images)
    half = new // 2
    # In FFT order, so that an index is a frequency: 0 .. half, then the negative ones.
    rows = xp.concatenate([xp.arange(0, (new + 1) // 2), xp.arange(box - half, box)])
    spectra = forward(images)[..., : half + 1]
    offset = (box // 2) / box - half / new
    phase_y = xp.exp(2j * np.pi * offset * xp.rint(xp.fft.fftfreq(new) * new))[:, None]
    phase_x = xp.exp(2j * np.pi * offset * xp.arange(half + 1))[None, :]
    cropped = spectra[..., rows, :]
    if new % 2 == 0:
        twin = spectra[..., half, :] * xp.exp(4j * np.pi * offset * half)
        cropped[..., half, :] = 0.5 * (cropped[..., half, :] + twin)
    phase = (phase_y * phase_x * (new / box) ** 2).astype(cropped.dtype)
    return backward(cropped * phase, new)


def cosine_step(ring: Any, edge: float) -> Any:
    """Return 0 well below ``edge``, 1 well above, one half at it; all in Fourier pixels."""
    xp = namespace_of(ring)
    half_width = min(2.0, max(edge, 1e-6))
    return 0.5 - 0.5 * xp.cos(np.pi * xp.clip((ring - edge) / (2 * half_width) + 0.5, 0.0, 1.0))


def _shift_phase(frequency_per_px: Any, shift_px: Any, xp: Any) -> Any:
    """Return exp(-2 pi i k s), its real part where k is the Nyquist frequency."""
    angle = 2.0 * np.pi * frequency_per_px * shift_px
    sine = xp.where(xp.abs(frequency_per_px) == 0.5, 0.0, xp.sin(angle))
    return xp.cos(angle) - 1j * sine
