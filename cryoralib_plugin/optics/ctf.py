# SPDX-License-Identifier: GPL-3.0-or-later
"""Contrast transfer function of the microscope, in RELION's convention."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from cryoralib_plugin.arrays import namespace_of
from cryoralib_plugin.fourier.band import FourierBand
from cryoralib_plugin.fourier.transform import frequencies
from cryoralib_plugin.geometry.rigid2d import Poses2D


@dataclass(frozen=True)
class CtfParameters:
    """Optics of n particle images.

    Attributes
    ----------
    defocus_u_angst, defocus_v_angst : (n,) float64, Angstrom
        Largest and smallest defocus; underfocus is positive.
    defocus_angle_deg : (n,) float64, degrees
        Direction of ``defocus_u`` from +x (columns) towards +y (rows).
    voltage_kv : (n,) float64, kilovolt.
    cs_mm : (n,) float64, millimetre.
    amplitude_contrast : (n,) float64, between 0 and 1.
    phase_shift_deg : (n,) float64, degrees; of a phase plate.
    """

    defocus_u_angst: Any
    defocus_v_angst: Any
    defocus_angle_deg: Any
    voltage_kv: Any
    cs_mm: Any
    amplitude_contrast: Any
    phase_shift_deg: Any

    def __len__(self) -> int:
        return len(self.defocus_u_angst)

    def __getitem__(self, rows: Any) -> CtfParameters:
        """Return the optics of the given rows (a slice, mask or index array)."""
        return CtfParameters(*(getattr(self, field.name)[rows] for field in fields(self)))


def wavelength_angst(voltage_kv: Any) -> Any:
    """Return the relativistic electron wavelength, Angstrom.

    ``lambda = 12.2643247 / sqrt(V (1 + 0.978466e-6 V))``, V in volt.
    """
    xp = namespace_of(voltage_kv)
    volt = voltage_kv * 1e3
    return 12.2643247 / xp.sqrt(volt * (1.0 + 0.978466e-6 * volt))


def ctf_2d(parameters: CtfParameters, box_size_px: int, pixel_size_angst: float) -> Any:
    """Return the contrast transfer functions of images as factors of their half spectra.

    ``CTF(k) = -sin(chi - atan(A / sqrt(1 - A^2)))``,
    ``chi = -pi lambda D(theta) s^2 + pi/2 Cs lambda^3 s^4 - phase_shift``,
    ``D(theta) = [U + V + (U - V) cos 2(theta - theta_U)] / 2``, s = |k| / (N pixel_size):
    RELION's sign. Underfocus is positive, CTF(0) = +A without a phase plate and the CTF is
    positive up to its first zero, so white protein stays white.

    Parameters
    ----------
    parameters : of n images.
    box_size_px : N.
    pixel_size_angst : Angstrom per pixel.

    Returns
    -------
    (n, N, N // 2 + 1) float32.
    """
    xp = namespace_of(parameters.defocus_u_angst)
    ky, kx = (axis / pixel_size_angst for axis in frequencies(box_size_px, xp))
    values = _transfer(parameters, (kx + 0.0 * ky).ravel(), (ky + 0.0 * kx).ravel())
    return values.reshape(len(parameters), box_size_px, box_size_px // 2 + 1)


def ctf_in_band(parameters: CtfParameters, band: FourierBand, pixel_size_angst: float) -> Any:
    """Return the contrast transfer functions of images at the terms of a band.

    The values are those of :func:`ctf_2d`.

    Parameters
    ----------
    parameters : of n images.
    band : of their box.
    pixel_size_angst : Angstrom per pixel.

    Returns
    -------
    (n, n_terms) float32.
    """
    xp = namespace_of(parameters.defocus_u_angst)
    side_angst = band.box_size_px * pixel_size_angst
    return _transfer(parameters, *(xp.asarray(k) / side_angst for k in (band.kx, band.ky)))


def _transfer(parameters: CtfParameters, kx: Any, ky: Any) -> Any:
    """Return CTFs (n, n_terms) float32 at frequencies kx, ky (n_terms,), cycles per Angstrom."""
    xp = namespace_of(kx)
    squared = kx**2 + ky**2
    maps = (squared, kx**2 - ky**2, 2.0 * kx * ky, squared**2, xp.ones_like(kx))
    turns = xp.zeros((len(parameters), len(kx)))
    # Term by term and not as a matrix product, whose rounding would depend on how many images
    # there are.
    for factor, term in zip(_phase_factors(parameters), maps):
        turns += (factor / (2.0 * np.pi))[:, None] * term
    # Within half a turn float32 is enough.
    turns -= xp.rint(turns)
    angle = turns.astype(xp.float32)
    angle *= xp.float32(-2.0 * np.pi)
    return xp.sin(angle)


def move_with_content(parameters: CtfParameters, poses: Poses2D) -> CtfParameters:
    """Return the optics of images after their content has been moved by poses.

    The direction of astigmatism turns with the content: ``theta' = theta + psi``, negated where
    mirrored; shifts do not touch the amplitude.
    """
    xp = namespace_of(parameters.defocus_angle_deg, poses.psi_deg)
    turned = parameters.defocus_angle_deg + poses.psi_deg
    angle = xp.mod(xp.where(poses.mirror, -turned, turned), 180.0)
    values = {field.name: getattr(parameters, field.name) for field in fields(parameters)}
    return CtfParameters(**{**values, "defocus_angle_deg": angle})


def _phase_factors(parameters: CtfParameters) -> tuple[Any, ...]:
    """Return the factors (n,) of s^2, kx^2 - ky^2, 2 kx ky, s^4 and 1 in the CTF's phase, rad."""
    xp = namespace_of(parameters.defocus_u_angst)
    wavelength = wavelength_angst(parameters.voltage_kv)
    mean = 0.5 * (parameters.defocus_u_angst + parameters.defocus_v_angst)
    astigmatism = 0.5 * (parameters.defocus_u_angst - parameters.defocus_v_angst)
    direction = 2.0 * xp.deg2rad(parameters.defocus_angle_deg)
    scale = -np.pi * wavelength
    return (
        scale * mean,
        scale * astigmatism * xp.cos(direction),
        scale * astigmatism * xp.sin(direction),
        0.5 * np.pi * parameters.cs_mm * 1e7 * wavelength**3,
        -xp.deg2rad(parameters.phase_shift_deg) - xp.arcsin(parameters.amplitude_contrast),
    )
