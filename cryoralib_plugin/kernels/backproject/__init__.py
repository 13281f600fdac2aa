# SPDX-License-Identifier: GPL-3.0-or-later
"""Sums of slices in the spectrum of a map, the adjoint of projection, exact in any order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Optional

import numpy as np

from cryoralib_plugin.arrays import namespace_of
from cryoralib_plugin.fourier.band import FourierBand
from cryoralib_plugin.fourier.volume import FourierVolume, grid_extent
from cryoralib_plugin.kernels._dispatch import twin_of
from cryoralib_plugin.kernels.project import check_grid, check_rotations

if TYPE_CHECKING:
    from cryoralib_plugin.kernels.device import Device

# A unit of the fixed-point sums relative to the stated magnitude: below float32 rounding, and
# sums may reach 2^35 magnitudes.
_UNIT = 2.0**-28
# With values below this many magnitudes a voxel overflows no sooner than after 32,768 extreme ones.
LARGEST_VALUE = 2.0**20


@dataclass(frozen=True)
class SliceSums:
    """Fixed-point sums of slices and of their weights on the grid of a :class:`FourierVolume`.

    Integers add without rounding: the sums are the same to the bit for any order of particles,
    batch size, number of threads, ranks or backend. They add across ranks field by field.

    Attributes
    ----------
    data : (2 m + 1, 2 m + 1, m + 1, 2) int64, z, y, x, real and imaginary part; in units of
        ``data_unit``. As inserted: the plane x = 0 lacks its mates until :func:`completed`.
    weight : (2 m + 1, 2 m + 1, m + 1) int64, sums of CTF^2, in units of ``weight_unit``.
    box_size_px, padding, max_radius_px : as in :class:`FourierVolume`.
    data_unit, weight_unit : powers of two.
    """

    data: Any
    weight: Any
    box_size_px: int
    padding: int
    max_radius_px: int
    data_unit: float
    weight_unit: float

    @property
    def largest(self) -> tuple[float, float]:
        """Largest sound value and weight."""
        return LARGEST_VALUE * self.data_unit / _UNIT, LARGEST_VALUE * self.weight_unit / _UNIT

    @classmethod
    def zeros(
        cls,
        band: FourierBand,
        device: Device,
        *,
        padding: int = 2,
        data_magnitude: float = 1.0,
        weight_magnitude: float = 1.0,
    ) -> SliceSums:
        """Return empty sums on a device, wide enough for a band.

        Parameters
        ----------
        band : of the slices to come.
        device : where the sums live.
        padding : integer factor.
        data_magnitude, weight_magnitude : what one value and one weight typically are, within a
            factor of some hundreds; they decide the units and must be the same on all ranks.

        Raises
        ------
        ValueError
            If a magnitude is not positive, or the padding cannot be.
        """
        extent = grid_extent(band.box_size_px, band.highest_px, padding)
        shape = (2 * extent + 1, 2 * extent + 1, extent + 1)
        return cls(
            device.to_device(np.zeros((*shape, 2), dtype=np.int64)),
            device.to_device(np.zeros(shape, dtype=np.int64)),
            band.box_size_px,
            int(padding),
            band.highest_px,
            _unit("data_magnitude", data_magnitude),
            _unit("weight_magnitude", weight_magnitude),
        )


@dataclass(frozen=True)
class Views:
    """The orientations at which images enter a map; an image may enter at several.

    Attributes
    ----------
    rotations : (n_views, 3, 3) real; R, whose third column is the view.
    image : (n_views,) integers on the host, which image.
    weight : (n_views,) float32, what a view counts, for instance its posterior probability times
        the weight of the particle.
    """

    rotations: Any
    image: np.ndarray
    weight: Any


def backproject(
    sums: SliceSums,
    spectra: Any,
    power: Any,
    views: Views,
    band: FourierBand,
    *,
    symmetry: Optional[np.ndarray] = None,
) -> None:
    """Add images to the spectrum of a map at their views, in place.

    Around ``G R (kx, ky, 0)^T``, with trilinear weights on the padded grid and for every operator
    G, ``weight * spectra`` is added to the data and ``weight * power`` to the weights: the adjoint
    of :func:`project`. For least squares, spectra are ``conj(phases) CTF X`` and power is
    ``CTF^2``, both over the noise power; where an image enters with a mean over its shifts and
    defoci, they are the means.

    Parameters
    ----------
    sums : changed in place.
    spectra : (n_images, n_terms) complex64, origin at pixel N // 2, shifts undone.
    power : (n_images, n_terms) float32.
    views : where each image goes.
    band : the terms.
    symmetry : (n_operators, 3, 3) on the host, the identity among them; map(G x) = map(x).

    Raises
    ------
    ValueError
        If shapes, radii or image numbers do not fit, or a value is not finite or too large.
    TypeError
        If arrays live on different devices.
    """
    check_grid(sums, band)
    _check_images(spectra, power, views, band)
    xp = namespace_of(spectra)
    arrays = {"spectra": spectra, "power": power, "rotations": views.rotations}
    twin = twin_of(__name__, data=sums.data, weight=views.weight, **arrays)
    rotations, image, weight = views.rotations, np.asarray(views.image, np.int64), views.weight
    if symmetry is not None:
        check_rotations(symmetry)
        operators = xp.asarray(np.asarray(symmetry, np.float64))
        rotations = (operators[None] @ rotations[:, None]).reshape(-1, 3, 3)
        image = np.repeat(image, len(symmetry))
        weight = weight[:, None] * xp.ones(len(symmetry), dtype=xp.float32)
    expanded = Views(
        xp.ascontiguousarray(rotations, dtype=xp.float32),
        image,
        xp.ascontiguousarray(weight.reshape(-1), dtype=xp.float32),
    )
    if not twin.add_slices(
        sums,
        xp.ascontiguousarray(spectra, dtype=xp.complex64),
        xp.ascontiguousarray(power, dtype=xp.float32),
        expanded,
        band,
    ):
        raise ValueError(
            f"a Fourier term or CTF^2 of an image is not finite or beyond {LARGEST_VALUE:g} times "
            "the magnitude the sums were made for: look for images that are not normalised"
        )


def completed(sums: SliceSums) -> tuple[FourierVolume, Any]:
    """Return the summed spectrum, and the summed weights, with the plane x = 0 made whole.

    Every image stands for k and for -k. Only in the plane x = 0 do both fall on stored voxels:
    ``F(0, y, z) += conj F(0, -y, -z)``, and the weights alike.

    Returns
    -------
    spectrum : its ``values`` are the sums of data.
    weights : (2 m + 1, 2 m + 1, m + 1) float32.
    """
    xp = namespace_of(sums.data)
    data = sums.data + 0
    weight = sums.weight + 0
    # The right-hand sides are new arrays before anything is written.
    data[:, :, 0, 0] = data[:, :, 0, 0] + data[::-1, ::-1, 0, 0]
    data[:, :, 0, 1] = data[:, :, 0, 1] - data[::-1, ::-1, 0, 1]
    weight[:, :, 0] = weight[:, :, 0] + weight[::-1, ::-1, 0]
    real = data[..., 0] * sums.data_unit
    imag = data[..., 1] * sums.data_unit
    spectrum = FourierVolume(
        (real + 1j * imag).astype(xp.complex64), sums.box_size_px, sums.padding, sums.max_radius_px
    )
    return spectrum, (weight * sums.weight_unit).astype(xp.float32)


def _unit(name: str, magnitude: float) -> float:
    if not (magnitude > 0.0 and np.isfinite(magnitude)):
        raise ValueError(f"{name} must be positive, but it is {magnitude}")
    return float(2.0 ** np.rint(np.log2(magnitude)) * _UNIT)


def _check_images(spectra: Any, power: Any, views: Views, band: FourierBand) -> None:
    if spectra.ndim != 2 or spectra.shape[1] != band.n_terms or power.shape != spectra.shape:
        raise ValueError(
            f"spectra and power must have shape (n_images, {band.n_terms}), but have "
            f"{tuple(spectra.shape)} and {tuple(power.shape)}"
        )
    check_rotations(views.rotations)
    n_views = views.rotations.shape[0]
    if tuple(np.shape(views.image)) != (n_views,) or tuple(views.weight.shape) != (n_views,):
        raise ValueError(
            f"image and weight must have one entry for each of the {n_views} views, but have "
            f"shapes {tuple(np.shape(views.image))} and {tuple(views.weight.shape)}"
        )
    image = np.asarray(views.image)
    if n_views and not 0 <= int(image.min()) <= int(image.max()) < spectra.shape[0]:
        raise ValueError(
            f"views name images {image.min()} to {image.max()}, but there are 0 to "
            f"{spectra.shape[0] - 1}"
        )
