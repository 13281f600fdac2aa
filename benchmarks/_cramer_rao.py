# SPDX-License-Identifier: GPL-3.0-or-later
"""How well a pose can be known at all: the Cramer-Rao bound of particles whose truth is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Optional

import numpy as np

from cryoralib_plugin.fourier.band import FourierBand, band_spectra, shift_phases
from cryoralib_plugin.geometry.rotations import from_axis_angle, multiply, to_euler
from cryoralib_plugin.optics.ctf import CtfParameters, ctf_in_band
from cryoralib_plugin.simulate.project import Poses3D, project

_STEP_DEG, _STEP_DEFOCUS = 0.25, 1e-3
_DRAWS = 200


@dataclass(frozen=True)
class Truth3D:
    """What is true of n particles.

    Attributes
    ----------
    rotations : (n, 4) float64, unit quaternions, w first.
    shift_px : (n, 2) float64, what would bring the content back to the centre.
    ctf : of n images.
    """

    rotations: np.ndarray
    shift_px: np.ndarray
    ctf: CtfParameters

    def __getitem__(self, rows: Any) -> Truth3D:
        return Truth3D(self.rotations[rows], self.shift_px[rows], self.ctf[rows])

    def __len__(self) -> int:
        return len(self.rotations)


@dataclass(frozen=True)
class Bound:
    """Least covariance of each particle's pose: three angles about the image's axes, degrees; two
    shifts, pixels; and, where it was asked for, the defocus factor. (n, 5 or 6, 5 or 6)."""

    covariance: np.ndarray

    def median_angle_deg(self, seed: int = 1) -> float:
        """Return the median over particles of the angle between estimate and truth."""
        return float(np.median(self._lengths(slice(0, 3), seed)))

    def median_shift_px(self, seed: int = 2) -> float:
        """Return the median over particles of the distance of estimate and truth."""
        return float(np.median(self._lengths(slice(3, 5), seed)))

    def defocus_rms(self) -> float:
        """Return the root mean square error of the defocus factor."""
        return float(np.sqrt(self.covariance[:, 5, 5].mean()))

    def _lengths(self, block: slice, seed: int) -> np.ndarray:
        part = np.linalg.cholesky(self.covariance[:, block, block])
        draws = np.random.default_rng(seed).normal(size=(_DRAWS, len(part), part.shape[1]))
        return np.linalg.norm(np.einsum("nij,dnj->dni", part, draws), axis=-1)


def cramer_rao(
    molecule: Any,
    truth: Truth3D,
    noise_power: np.ndarray,
    band: FourierBand,
    pixel_size_angst: float,
    *,
    with_defocus: bool = False,
) -> Bound:
    """Return the inverse of ``F_ij = sum_k Re(dm_k/dp_i conj dm_k/dp_j) / s2_k``.

    m = CTF times the projection, its derivatives taken numerically from exact projections; s2 the
    noise variance of a real or imaginary part. The map is taken as known.

    Parameters
    ----------
    molecule : Phantom or MapMolecule, on the grey scale of the images.
    truth : of n particles.
    noise_power : (n_terms,) or (n_shells,) float, variance of a part of the unnormalised spectrum.
    band : terms that are compared.
    pixel_size_angst : of the images.
    with_defocus : the defocus factor is unknown too.
    """
    weights = noise_power if len(noise_power) == band.n_terms else noise_power[band.shell]
    derivatives = list(_pose_derivatives(molecule, truth, band, pixel_size_angst))
    if with_defocus:
        derivatives.append(_defocus_derivative(molecule, truth, band, pixel_size_angst))
    stacked = np.stack(derivatives, axis=1) / np.sqrt(weights)
    fisher = np.einsum("nik,njk->nij", stacked, stacked.conj()).real
    return Bound(np.linalg.inv(fisher))


def _pose_derivatives(molecule, truth, band, pixel_size_angst):
    """Yield dm/dp (n, n_terms) for three angles, per degree, and two shifts, per pixel."""
    transfer = ctf_in_band(truth.ctf, band, pixel_size_angst)
    for axis in np.eye(3):
        ends = []
        for step in (_STEP_DEG, -_STEP_DEG):
            # About the axes of the image: R exp(step).
            turned = multiply(truth.rotations, from_axis_angle(axis, step))
            ends.append(_spectra(molecule, turned, truth.shift_px, band, pixel_size_angst))
        yield (ends[0] - ends[1]) / (2 * _STEP_DEG) * transfer
    at_truth = transfer * _spectra(
        molecule, truth.rotations, truth.shift_px, band, pixel_size_angst
    )
    for k in (band.kx, band.ky):
        yield at_truth * (2j * np.pi * k / band.box_size_px)


def _defocus_derivative(molecule, truth, band, pixel_size_angst):
    """Return dm/dd (n, n_terms), d the factor of both defoci."""
    ends = []
    for factor in (1 + _STEP_DEFOCUS, 1 - _STEP_DEFOCUS):
        ctf = with_factor(truth.ctf, factor)
        ends.append(ctf_in_band(ctf, band, pixel_size_angst))
    slope = (ends[0] - ends[1]) / (2 * _STEP_DEFOCUS)
    return slope * _spectra(molecule, truth.rotations, truth.shift_px, band, pixel_size_angst)


def with_factor(ctf: CtfParameters, factor: Any) -> CtfParameters:
    """Return optics whose two defoci are multiplied by a factor, one or (n,)."""
    values = dict(vars(ctf))
    for name in ("defocus_u_angst", "defocus_v_angst"):
        values[name] = values[name] * factor
    return CtfParameters(**values)


def _spectra(molecule, rotations, shift_px, band, pixel_size_angst):
    """Return the spectra (n, n_terms) of exact projections without CTF."""
    angles = np.stack(to_euler(rotations), axis=1)
    centred = Poses3D(angles, np.zeros_like(shift_px))
    images = project(molecule, centred, band.box_size_px, pixel_size_angst)
    return band_spectra(images, band) * shift_phases(shift_px, band)


def noise_of_residuals(
    images: np.ndarray,
    molecule: Any,
    truth: Truth3D,
    band: FourierBand,
    pixel_size_angst: float,
    scale: Optional[float] = None,
) -> np.ndarray:
    """Return the variance of a part of the noise by shell, what true projections leave.

    With ``scale`` None the grey scale of the molecule is fitted first.
    """
    transfer = ctf_in_band(truth.ctf, band, pixel_size_angst)
    model = transfer * _spectra(molecule, truth.rotations, truth.shift_px, band, pixel_size_angst)
    data = band_spectra(images, band)
    if scale is None:
        scale = float(np.vdot(model, data).real / np.vdot(model, model).real)
    left = (np.abs(data - scale * model) ** 2).mean(axis=0) / 2
    counts = np.maximum(np.bincount(band.shell), 1)
    return np.bincount(band.shell, left) / counts
