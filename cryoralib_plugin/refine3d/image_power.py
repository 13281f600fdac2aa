# SPDX-License-Identifier: GPL-3.0-or-later
"""The power of images and of what maps explain of it, and the noise a run begins with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cryoralib_plugin.fourier.band import FourierBand
from cryoralib_plugin.fourier.frc import ring_counts, ring_sums
from cryoralib_plugin.fourier.transform import forward
from cryoralib_plugin.fourier.volume import fourier_volume
from cryoralib_plugin.geometry.rotations import to_matrices
from cryoralib_plugin.geometry.so3_grid import super_fibonacci
from cryoralib_plugin.kernels.project import project
from cryoralib_plugin.optics.ctf import ctf_in_band

from .noise import settled
from .sums import POWER_UNIT
from .task import DEFAULT_BATCH_SIZE, Task

_SAMPLE = 200
"""Rotations and particles that tell the mean power of projections."""

_PIXEL_UNIT = 2.0**-24
"""Unit of the sums of grey values of normalised images."""


@dataclass(frozen=True)
class ImagePower:
    """Power of images before any map is known: integers, so that no order matters.

    Attributes
    ----------
    power : (2, n_groups, N // 2 + 1) int64
        Sums over particles of the mean of ``1/2 |X|^2`` over each shell, by half and group, in
        units of ``N^2 / 2`` (white noise of unit variance) times `sums.POWER_UNIT`.
    image : (2, N, N) int64, sums of the images of each half, in units of 2^-24.
    counts : (2, n_groups) int64, particles.
    """

    power: np.ndarray
    image: np.ndarray
    counts: np.ndarray

    @classmethod
    def zeros(cls, n_groups: int, box_size_px: int) -> ImagePower:
        """Return empty sums."""
        shape = (2, n_groups, box_size_px // 2 + 1)
        image = np.zeros((2, box_size_px, box_size_px), np.int64)
        return cls(np.zeros(shape, np.int64), image, np.zeros((2, n_groups), np.int64))

    @property
    def box_size_px(self) -> int:
        """N of the images."""
        return int(self.image.shape[-1])

    def add(self, images: np.ndarray, half: int, group: np.ndarray) -> None:
        """Add images (n, N, N) of one half, and of groups (n,), in place."""
        box = self.box_size_px
        spectra = forward(images.astype(np.float64))
        power = ring_sums(spectra.real**2 + spectra.imag**2, box) / ring_counts(box)
        relative = np.rint(power / box**2 / POWER_UNIT).astype(np.int64)
        np.add.at(self.power[half], group, relative)
        np.add.at(self.counts[half], group, 1)
        self.image[half] += np.rint(images / _PIXEL_UNIT).astype(np.int64).sum(axis=0)

    def total_power(self) -> np.ndarray:
        """Return the mean of ``1/2 |X|^2`` by half and shell, (2, N // 2 + 1) float64."""
        counts = np.maximum(self.counts.sum(axis=1), 1)[:, None]
        return self.power.sum(axis=1) * (POWER_UNIT * 0.5 * self.box_size_px**2) / counts


def summed_image_power(task: Task) -> ImagePower:
    """Return the summed power of this rank's images."""
    sums = ImagePower.zeros(task.n_groups, task.box_size_px)
    batch_size = task.config.compute.batch_size or DEFAULT_BATCH_SIZE
    for rows, images in task.source.batches(task.rows, batch_size):
        chosen = np.searchsorted(task.rows, rows)
        for half in (0, 1):
            here = task.half[chosen] == half
            sums.add(np.asarray(images)[here], half, task.group[chosen][here])
    return sums


def background_power(task: Task, total: np.ndarray) -> float:
    """Return the power of the noise taken as white, of a real or imaginary part.

    Parameters
    ----------
    total : (N // 2 + 1,) float64, power of the images by shell.
    """
    box = task.box_size_px
    if task.config.preprocess.normalise_background:
        return 0.5 * box**2
    return float(total[np.arange(box // 2 + 1) >= 3 * box // 8].mean())


def initial_noise_power(sums: ImagePower) -> np.ndarray:
    """Return the noise power a run begins with, (2, n_groups, N // 2 + 1) float64.

    ``1/2 (<|X|^2> - |<X>|^2)`` over the particles of a half and a group: all that differs between
    particles counts as noise until a map explains part of it. That is too much where the signal is
    strong, so the first poses are uncertain rather than wrong.
    """
    box = sums.box_size_px
    whole = np.maximum(sums.counts.sum(axis=1), 1)
    mean_image = sums.image * _PIXEL_UNIT / whole[:, None, None]
    spectra = forward(mean_image)
    common = ring_sums(spectra.real**2 + spectra.imag**2, box) / ring_counts(box) / 2
    # What is left of pure noise in a mean of n images is not common to them.
    total = sums.total_power()
    share = whole / np.maximum(whole - 1, 1)
    explained = np.clip((common - total / whole[:, None]) * share[:, None], 0.0, 0.9 * total)
    counts = np.maximum(sums.counts, 1)[..., None]
    groups = sums.power * (POWER_UNIT * 0.5 * box**2) / counts
    power = groups - explained[:, None]
    return settled(power, total - explained, sums.counts)


def projected_power(task: Task, volume: np.ndarray) -> np.ndarray:
    """Return the mean of ``1/2 |C A|^2`` over shells, rotations and CTFs, (N // 2 + 1,) float64.

    Parameters
    ----------
    volume : (N, N, N) float32, whose projections are A.
    """
    box = task.box_size_px
    n_shells = box // 2 + 1
    band = FourierBand.between(box, 0, task.limits.last_px)
    counts = np.maximum(np.bincount(band.shell, minlength=n_shells), 1)
    padding = task.config.reconstruction.padding_factor
    spectrum = fourier_volume(volume, max_radius_px=band.highest_px, padding=padding)
    slices = project(spectrum, to_matrices(super_fibonacci(_SAMPLE)), band)
    slice_power = np.bincount(
        band.shell, (np.abs(slices.astype(np.complex128)) ** 2).mean(axis=0), minlength=n_shells
    )
    rows = np.unique(np.linspace(0, len(task.table) - 1, _SAMPLE).astype(np.int64))
    ctf = ctf_in_band(task.table.ctf(rows), band, task.pixel_size_angst).astype(np.float64)
    ctf_power = np.bincount(band.shell, (ctf**2).mean(axis=0), minlength=n_shells)
    return np.asarray(0.5 * slice_power / counts * ctf_power / counts)


def projected_information(task: Task, volume: np.ndarray, noise_power: np.ndarray) -> float:
    """Return the mean of ``1/2 sum |C A|^2 / sigma^2`` over rotations and particles.

    It is by how much the log-likelihood of a particle rises where its true map and pose explain
    it, over the terms of a first round.

    Parameters
    ----------
    volume : (N, N, N) float32, whose projections are A.
    noise_power : (2, n_groups, N // 2 + 1) float64, sigma^2.
    """
    limits, box = task.limits, task.box_size_px
    band = FourierBand.between(box, limits.lowest_px, limits.first_px)
    counts = np.bincount(band.shell, minlength=box // 2 + 1)
    noise = noise_power.mean(axis=(0, 1))
    power = projected_power(task, volume)
    return float((counts * power / np.where(noise > 0.0, noise, np.inf)).sum())
