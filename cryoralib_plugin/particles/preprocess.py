# SPDX-License-Identifier: GPL-3.0-or-later
"""How a raw particle image becomes one that is aligned.

The order is fixed:

1. ramp removal: the plane fitted to the background (pixels outside the particle radius) of the raw
   image is subtracted, its constant included;
2. down-sampling by cropping the Fourier transform, grey values kept;
3. band-pass and CTF (sign, or multiplication), one pass through Fourier space;
4. background normalisation in the new box: mean 0 and standard deviation 1 outside the radius;
5. contrast inversion.

The ramp goes first because a Fourier transform would smear its jump at the frame; the
normalisation goes after the filters because they change the variance of the noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Optional

import numpy as np

from cryoralib_plugin.arrays import namespace_of
from cryoralib_plugin.contract.preprocess import Preprocess
from cryoralib_plugin.fourier.filters import apply_filter, bandpass, fourier_crop
from cryoralib_plugin.fourier.masks import radius_map
from cryoralib_plugin.optics.ctf import CtfParameters, ctf_2d

_BACKGROUND_SHARE_OF_BOX = 0.375
_FEWEST_BACKGROUND_PIXELS = 16


@dataclass(frozen=True)
class Background:
    """Pixels of a box outside a radius, and what is needed to fit planes to them.

    Attributes
    ----------
    mask : (N, N) float32; 1 outside the radius, 0 inside.
    n_pixels : how many pixels lie outside.
    axis : (N,) float32; coordinates about pixel N // 2 in units of the box.
    solve : (3, 3) float64; inverse of the normal equations of a plane a + b y + c x.
    """

    mask: Any
    n_pixels: int
    axis: Any
    solve: np.ndarray

    @classmethod
    def outside(cls, box_size_px: int, radius_px: float, xp: Any = np) -> Background:
        """Return the background outside a circle about pixel N // 2."""
        is_background = radius_map(box_size_px) > radius_px
        n_pixels = int(is_background.sum())
        if n_pixels < _FEWEST_BACKGROUND_PIXELS:
            raise ValueError(
                f"a background radius of {radius_px:g} px leaves {n_pixels} of the pixels of a box "
                f"of {box_size_px} px outside; it must leave at least "
                f"{_FEWEST_BACKGROUND_PIXELS}: make the radius smaller"
            )
        axis = (np.arange(box_size_px) - box_size_px // 2) / box_size_px
        y, x = np.meshgrid(axis, axis, indexing="ij")
        design = np.stack([np.ones(n_pixels), y[is_background], x[is_background]], axis=1)
        return cls(
            mask=xp.asarray(is_background, dtype=xp.float32),
            n_pixels=n_pixels,
            axis=xp.asarray(axis, dtype=xp.float32),
            solve=np.linalg.inv(design.T @ design),
        )


def remove_ramp(images: Any, background: Background) -> Any:
    """Subtract from each image the plane that fits its background best (least squares).

    Parameters
    ----------
    images
        (n, N, N) float32.
    background
        Of the same box.
    """
    xp = namespace_of(images)
    images = _without_pedestal(images)
    outside = images * background.mask
    of_rows, of_columns = outside.sum(axis=2), outside.sum(axis=1)
    moments = [
        of_rows.sum(axis=1),
        (of_rows * background.axis).sum(axis=1),
        (of_columns * background.axis).sum(axis=1),
    ]
    moments = [moment.astype(xp.float64) for moment in moments]
    constant, slope_y, slope_x = (
        sum(float(factor) * moment for factor, moment in zip(line, moments)).astype(xp.float32)
        for line in background.solve
    )
    along_y = constant[:, None] + slope_y[:, None] * background.axis
    along_x = slope_x[:, None] * background.axis
    return images - along_y[:, :, None] - along_x[:, None, :]


def normalise_background(images: Any, background: Background) -> Any:
    """Scale each image so that its background has mean 0 and standard deviation 1.

    Parameters
    ----------
    images
        (n, N, N) float32. An image with a constant background comes back as NaN.
    background
        Of the same box.
    """
    xp = namespace_of(images)
    images = _without_pedestal(images)
    mean = _sums(images * background.mask) / background.n_pixels
    images = images - mean[:, None, None].astype(xp.float32)
    outside = images * background.mask
    variance = _sums(outside * outside) / background.n_pixels
    scale = 1.0 / xp.sqrt(xp.where(variance > 0, variance, xp.nan))
    return images * scale[:, None, None].astype(xp.float32)


def _without_pedestal(images: Any) -> Any:
    # Detector counts sit on a high pedestal, which would eat the digits of float32 sums.
    return images - images.reshape(len(images), -1).mean(axis=1)[:, None, None]


def _sums(images: Any) -> Any:
    # A matrix product would be faster, but its rounding depends on how many images there are,
    # and results must not depend on the batch.
    return images.reshape(len(images), -1).sum(axis=1)


@dataclass(frozen=True)
class Preprocessing:
    """What is done to every particle; lengths in px refer to the prepared image.

    Attributes
    ----------
    downsample_box_px : new box; 0 keeps the box.
    highpass_angst, lowpass_angst : limits of the band-pass; 0 switches one off.
    background_radius_px : the background lies outside; 0 stands for 3/8 of the box.
    ctf : "none", "phase_flip" (multiply by the sign of the CTF) or "multiply".
    """

    downsample_box_px: int = 0
    highpass_angst: float = 0.0
    lowpass_angst: float = 0.0
    remove_ramp: bool = False
    normalise_background: bool = False
    invert_contrast: bool = False
    background_radius_px: float = 0.0
    ctf: str = "none"

    @classmethod
    def from_config(
        cls, preprocess: Preprocess, ctf_correction: str, background_radius_px: float = 0.0
    ) -> Preprocessing:
        """Return what a program's parameters ask for (`contract.preprocess`)."""
        return cls(
            downsample_box_px=preprocess.downsample_box_px,
            highpass_angst=preprocess.highpass_angst,
            lowpass_angst=preprocess.lowpass_angst,
            remove_ramp=preprocess.remove_ramp,
            normalise_background=preprocess.normalise_background,
            invert_contrast=preprocess.invert_contrast,
            background_radius_px=background_radius_px,
            ctf="multiply" if ctf_correction == "wiener" else ctf_correction,
        )


class Preprocessor:
    """Prepares images of one box and pixel size; all that does not depend on them is made once."""

    def __init__(
        self, settings: Preprocessing, box_size_px: int, pixel_size_angst: float, xp: Any = np
    ) -> None:
        new_box = settings.downsample_box_px or box_size_px
        if new_box > box_size_px:
            raise ValueError(
                f"downsample_box_px must not exceed the box of the particles, {box_size_px} px, "
                f"but is {new_box} px: choose a smaller box, or 0 to keep it"
            )
        if settings.ctf not in ("none", "phase_flip", "multiply"):
            raise ValueError(
                f'ctf must be "none", "phase_flip" or "multiply", but is "{settings.ctf}"'
            )
        self.settings = settings
        self.box_size_px = new_box
        self.pixel_size_angst = pixel_size_angst * box_size_px / new_box
        radius = settings.background_radius_px or _BACKGROUND_SHARE_OF_BOX * new_box
        self._raw_background = self._background = None
        if settings.remove_ramp:
            raw_radius = radius * box_size_px / new_box
            self._raw_background = Background.outside(box_size_px, raw_radius, xp)
        if settings.normalise_background:
            self._background = Background.outside(new_box, radius, xp)
        self._band = None
        if settings.highpass_angst > 0 or settings.lowpass_angst > 0:
            self._band = bandpass(
                new_box,
                self.pixel_size_angst,
                highpass_angst=settings.highpass_angst,
                lowpass_angst=settings.lowpass_angst,
                xp=xp,
            )

    @property
    def needs_ctf(self) -> bool:
        """Whether :meth:`prepare` must be given the optics of the images."""
        return self.settings.ctf != "none"

    def prepare(self, images: Any, ctf: Optional[CtfParameters] = None) -> Any:
        """Return prepared images (n, M, M) float32 of raw ones (n, N, N) float32.

        Parameters
        ----------
        images
            Square images of the box this object was made for.
        ctf
            Optics of the n images; needed when the settings ask for CTF correction.
        """
        if self._raw_background is not None:
            images = remove_ramp(images, self._raw_background)
        if self.box_size_px != images.shape[-1]:
            images = fourier_crop(images, self.box_size_px)
        response = self._response(images, ctf)
        if response is not None:
            images = apply_filter(images, response)
        if self._background is not None:
            images = normalise_background(images, self._background)
        return -images if self.settings.invert_contrast else images

    def _response(self, images: Any, ctf: Optional[CtfParameters]) -> Any:
        if not self.needs_ctf:
            return self._band
        if ctf is None:
            raise ValueError("CTF correction needs the optics of the images, but none were given")
        transfer = ctf_2d(ctf, self.box_size_px, self.pixel_size_angst)
        if self.settings.ctf == "phase_flip":
            xp = namespace_of(images)
            transfer = xp.where(transfer < 0, xp.float32(-1), xp.float32(1))
        return transfer if self._band is None else transfer * self._band
