# SPDX-License-Identifier: GPL-3.0-or-later
"""Molecules given as maps: projections from an over-sampled spectrum and cubic splines.

None of it is shared with the kernels of a refinement, which read a spectrum sampled half as
finely with linear weights: what a refinement finds is measured against something else.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy.fft
import scipy.ndimage

from cryoralib_plugin.fourier.maps import backward_centred, check_cube, forward_centred, resize_box
from cryoralib_plugin.fourier.masks3d import distance_map, soft_sphere
from cryoralib_plugin.geometry.rotations import from_euler, to_matrices

from .phantom import density_map
from .project import Poses3D, project

_PADDING = 3
_SPLINE_MARGIN = 12
"""Samples kept beyond the half that is used: the splines' filter forgets by 0.27 a sample."""
_EDGE_PX = 4.0
_OUTSIDE_SHARE = 1e-3
_POINTS_AT_ONCE = 1 << 20


@dataclass(frozen=True)
class MapMolecule:
    """The spectrum of a map, ready to be read anywhere.

    Attributes
    ----------
    coefficients : (m, m, m // 2 + 1 + margin) complex64, of cubic splines
        Centred in z and y; x from minus the margin upwards.
    step_inv_angst : distance of its samples.
    integral_angst3 : what a sum over voxels is multiplied by to be an integral, Angstrom^3.
    reach_angst : radius of the sphere around the centre that holds all but a thousandth of the
        squared density.
    """

    coefficients: np.ndarray
    step_inv_angst: float
    integral_angst3: float
    reach_angst: float

    def scaled(self, factor: float) -> MapMolecule:
        """Return the molecule with its density multiplied."""
        return replace(self, integral_angst3=self.integral_angst3 * factor)


def map_molecule(
    volume: np.ndarray, voxel_size_angst: float, pixel_size_angst: float = 0.0
) -> MapMolecule:
    """Return the molecule of a map, cut from its background by the sphere that fits its box.

    Parameters
    ----------
    volume : (n, n, n) float, axes z, y, x, origin n // 2; any background.
    voxel_size_angst : of the map.
    pixel_size_angst : of the images to come, beyond whose corners nothing is kept; 0: all is.

    Raises
    ------
    ValueError
        If the map is no cube, not finite or the same everywhere, or has no voxel size.
    """
    box = check_cube(volume)
    if voxel_size_angst <= 0.0:
        raise ValueError(
            "the map to simulate from has no voxel size in its header: write it there, in Angstrom"
        )
    if not np.isfinite(volume).all() or np.ptp(volume) == 0.0:
        raise ValueError("the map to simulate from must be finite and not the same everywhere")
    radius = distance_map(box)
    # Maps come on pedestals; a cube's own transform would cross every projection.
    level = volume[(radius > 0.5 * box - _EDGE_PX - 1) & (radius <= 0.5 * box)].mean()
    density = (volume - level) * soft_sphere(box, 0.5 * box - _EDGE_PX, _EDGE_PX)
    padded = resize_box(density.astype(np.float32), _PADDING * box)
    half = _PADDING * box // 2
    if pixel_size_angst > 0.0:
        used = _PADDING * box * voxel_size_angst / pixel_size_angst * np.sqrt(0.5)
        half = min(half, int(np.ceil(used)) + _SPLINE_MARGIN)
    return MapMolecule(
        _coefficients(padded, half),
        1.0 / (_PADDING * box * voxel_size_angst),
        voxel_size_angst**3,
        _reach(density, radius) * voxel_size_angst,
    )


@density_map.register
def _(molecule: MapMolecule, box_size_px: int, pixel_size_angst: float) -> np.ndarray:
    _check_reach(molecule, box_size_px, pixel_size_angst)
    whole, half = _frequencies(box_size_px)
    points = np.stack(np.meshgrid(whole, whole, half, indexing="ij")[::-1], axis=-1)
    spectrum = _values(molecule, points / (box_size_px * pixel_size_angst))
    spectrum *= np.float32(molecule.integral_angst3 / pixel_size_angst**3)
    spectrum = _without_nyquist(spectrum, box_size_px)
    if box_size_px % 2 == 0:
        spectrum[box_size_px // 2] = 0.0
    return backward_centred(spectrum, box_size_px)


@project.register
def _(
    molecule: MapMolecule, poses: Poses3D, box_size_px: int, pixel_size_angst: float
) -> np.ndarray:
    _check_reach(molecule, box_size_px, pixel_size_angst)
    whole, half = _frequencies(box_size_px)
    plane = np.stack(np.meshgrid(whole, half, indexing="ij")[::-1], axis=-1)
    columns = to_matrices(from_euler(*poses.angles_deg.T))[:, :, :2]
    images = np.empty((len(poses), box_size_px, box_size_px), dtype=np.float32)
    step = max(1, _POINTS_AT_ONCE // plane[..., 0].size)
    for start in range(0, len(poses), step):
        rows = slice(start, start + step)
        points = np.einsum("nij,yxj->nyxi", columns[rows], plane)
        spectra = _values(molecule, points / (box_size_px * pixel_size_angst))
        # The pose's shift would bring the content back, so the content lies at its opposite.
        turns = np.einsum("yxj,nj->nyx", plane, poses.shift_px[rows]) / box_size_px
        spectra *= np.exp(2j * np.pi * turns).astype(np.complex64)
        spectra *= np.float32(molecule.integral_angst3 / pixel_size_angst**3)
        spectra = _without_nyquist(spectra, box_size_px)
        images[rows] = backward_centred(spectra, box_size_px, 2)
    return images


def _coefficients(padded: np.ndarray, half: int) -> np.ndarray:
    """Return the splines' coefficients of the spectrum from -half to half, x from -margin."""
    spectrum = scipy.fft.fftshift(forward_centred(padded), axes=(0, 1))
    middle, top = len(padded) // 2, spectrum.shape[2] - 1
    half = min(half, middle - 1 + len(padded) % 2, top)
    keep = slice(middle - half, middle + half + 1)
    right = spectrum[keep, keep, : half + 1]
    # Friedel's law gives the other side of x = 0.
    left = right[::-1, ::-1, min(_SPLINE_MARGIN, half) : 0 : -1].conj()
    values = np.concatenate([left, right], axis=2)
    result = np.empty(values.shape, dtype=np.complex64)
    for part in ("real", "imag"):
        filtered = scipy.ndimage.spline_filter(getattr(values, part), order=3, output=np.float32)
        setattr(result, part, filtered)
    return result


def _values(molecule: MapMolecule, points_inv_angst: np.ndarray) -> np.ndarray:
    """Return the spectrum (...) complex64 at points (..., 3) x, y, z, cycles per Angstrom."""
    coefficients = molecule.coefficients
    half = len(coefficients) // 2
    margin = coefficients.shape[2] - half - 1
    points = points_inv_angst / molecule.step_inv_angst
    behind = points[..., 0] < 0.0
    points = np.where(behind[..., None], -points, points)
    index = [points[..., 2] + half, points[..., 1] + half, points[..., 0] + margin]
    found = np.empty(behind.shape, dtype=np.complex64)
    for part in ("real", "imag"):
        read = scipy.ndimage.map_coordinates(
            getattr(coefficients, part), index, output=np.float32, order=3, prefilter=False
        )
        setattr(found, part, read)
    return np.where(behind, found.conj(), found)


def _frequencies(box_size_px: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the whole axis in FFT order and its half from 0 upwards, Fourier pixels."""
    return np.rint(np.fft.fftfreq(box_size_px) * box_size_px), np.arange(box_size_px // 2 + 1.0)


def _without_nyquist(spectra: np.ndarray, box_size_px: int) -> np.ndarray:
    """Return spectra whose Nyquist row and column, without partners of other sign, are zero."""
    if box_size_px % 2 == 0:
        spectra[..., box_size_px // 2] = 0.0
        spectra[..., box_size_px // 2, :] = 0.0
    return spectra


def _reach(density: np.ndarray, radius: np.ndarray) -> float:
    """Return the radius, voxels, of the sphere that holds nearly all of the squared density."""
    shell = np.ceil(radius).astype(np.int64).ravel()
    inside = np.cumsum(np.bincount(shell, np.square(density, dtype=np.float64).ravel()))
    return float(np.searchsorted(inside, (1.0 - _OUTSIDE_SHARE) * inside[-1]))


def _check_reach(molecule: MapMolecule, box_size_px: int, pixel_size_angst: float) -> None:
    if molecule.reach_angst > 0.5 * box_size_px * pixel_size_angst:
        raise ValueError(
            f"the molecule reaches {molecule.reach_angst:.0f} A from the centre of its map, but "
            f"the images {0.5 * box_size_px * pixel_size_angst:.0f} A: enlarge box_size_px or "
            "pixel_size_angst"
        )
