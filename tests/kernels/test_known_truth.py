# SPDX-License-Identifier: GPL-3.0-or-later
"""Scan, scores and insertion together on noisy particles whose poses are known.

800 images of 64 px at 3 A/px with CTF and noise of three times their standard deviation, made for
THUNDER: its refinement ended with FSC 0.5 to the truth at shell 19 and 83 % of the poses within
10 degrees.
"""

from __future__ import annotations

from dataclasses import dataclass

import mrcfile
import numpy as np
import pytest

from cryoralib_plugin.fourier.band import FourierBand, band_spectra, band_values, shift_phases
from cryoralib_plugin.fourier.fsc import fsc
from cryoralib_plugin.fourier.reconstruction import even_weights, floored, reconstruct
from cryoralib_plugin.fourier.volume import fourier_volume
from cryoralib_plugin.geometry.rotations import (
    angle_between,
    from_axis_angle,
    multiply,
    to_matrices,
)
from cryoralib_plugin.geometry.so3_grid import scan_rotations
from cryoralib_plugin.geometry.symmetry import symmetry_operators
from cryoralib_plugin.kernels.backproject import SliceSums, Views, backproject, completed
from cryoralib_plugin.kernels.device import CpuDevice
from cryoralib_plugin.kernels.project import project
from cryoralib_plugin.kernels.score import local_scores, whiten
from cryoralib_plugin.kernels.score.scan import start_scan, update_scan
from cryoralib_plugin.optics.ctf import CtfParameters, ctf_2d

BOX = 64


@dataclass
class Case:
    """Images, their truth and the map."""

    images: np.ndarray
    quaternions: np.ndarray
    shift_px: np.ndarray
    ctf: np.ndarray
    volume: np.ndarray


@pytest.fixture(scope="module")
def case(shared_data):
    folder = shared_data / "oracle" / "thunder_case"
    truth = np.load(folder / "truth.npy")
    one = np.ones(len(truth))
    optics = CtfParameters(
        truth[:, 6], truth[:, 7], np.degrees(truth[:, 8]), 300 * one, 2.7 * one, 0.1 * one, 0 * one
    )
    return Case(
        mrcfile.read(folder / "parts.mrcs").astype(np.float32),
        truth[:, :4],
        -truth[:, 4:6],  # THUNDER gives the displacement of the content
        ctf_2d(optics, BOX, 3.0),
        mrcfile.read(folder / "truth.mrc").astype(np.float32),
    )


def _noise_power(case, band):
    """Noise power of each term: what the true slices leave, by shell."""
    volume = fourier_volume(case.volume, max_radius_px=band.highest_px)
    slices = project(volume, to_matrices(case.quaternions), band)
    signal = slices * band_values(case.ctf, band) * shift_phases(case.shift_px, band)
    left = (np.abs(band_spectra(case.images, band) - signal) ** 2).mean(axis=0) / 2
    return (np.bincount(band.shell, left) / np.maximum(np.bincount(band.shell), 1))[band.shell]


def test_half_maps_of_true_poses_reach_shell_20(case):
    band = FourierBand.between(BOX, 0, 28)
    spectra, ctf = band_spectra(case.images, band), band_values(case.ctf, band)
    centred = spectra * ctf * shift_phases(case.shift_px, band).conj()
    rotations = to_matrices(case.quaternions)
    halves = []
    for rows in (np.arange(0, 800, 2), np.arange(1, 800, 2)):
        sums = SliceSums.zeros(band, CpuDevice(), data_magnitude=float(np.abs(spectra).mean()))
        views = Views(rotations[rows], np.arange(400), np.ones(400, np.float32))
        backproject(sums, centred[rows], ctf[rows] ** 2, views, band)
        data, weights = completed(sums)
        halves.append((data, floored(weights, 2, 0.02)))
    mask = _sphere(22.0, 6.0)
    curve = fsc(*(reconstruct(*half) for half in halves), mask)
    maps = [reconstruct(data, even_weights(weights, 2, curve)) for data, weights in halves]
    against = fsc(0.5 * (maps[0] + maps[1]), case.volume, mask)
    assert (against[1:21] >= 0.5).all()
    assert (against[1:11] >= 0.99).all()


def test_a_scan_and_local_scores_find_the_poses(case):
    n, band = 60, FourierBand.between(BOX, 1, 10)
    volume = fourier_volume(case.volume, max_radius_px=10)
    particles = whiten(
        band_spectra(case.images[:n], band),
        band_values(case.ctf[:n], band)[:, None],
        _noise_power(case, band),
    )
    grid = scan_rotations(3000, symmetry_operators("C1"))
    x, y = np.meshgrid(np.arange(-6.0, 6.1, 1.5), np.arange(-6.0, 6.1, 1.5))
    shifts = np.stack([x.ravel(), y.ravel()], axis=-1)
    scan = start_scan(particles, shifts, band, n_kept=8)
    for first in range(0, 1500, 500):
        slices = project(volume, to_matrices(grid[::2][first : first + 500]), band)
        update_scan(scan, slices, first)
    truth = case.quaternions[:n]
    # The points of the scan lie 17 degrees apart.
    nearest = angle_between(grid[scan.kept_rotation], truth[:, None]).min(axis=1)
    assert np.mean(nearest < 15.0) >= 0.95

    rng = np.random.default_rng(1)
    pose, shift = grid[scan.kept_rotation], shifts[scan.kept_shift[:, 0]]
    for width_deg in (6.0, 2.0):
        axes = rng.normal(size=(n, pose.shape[1], 30, 3))
        turns = width_deg * np.linalg.norm(axes, axis=-1)
        turns[:, :, 0] = 0.0
        cloud = multiply(
            pose[:, :, None],
            from_axis_angle(axes / np.linalg.norm(axes, axis=-1, keepdims=True), turns),
        ).reshape(n, -1, 4)
        moved = shift[:, None] + 0.1 * width_deg * rng.normal(size=(n, 9, 2))
        scores = local_scores(volume, particles, to_matrices(cloud), moved, band)[..., 0]
        at = scores.reshape(n, -1).argmax(axis=1)
        rows = np.arange(n)
        pose, shift = cloud[rows, at // 9][:, None], moved[rows, at % 9]
    error = angle_between(pose[:, 0], truth)
    assert np.mean(error < 10.0) >= 0.95
    assert np.median(error) < 3.0
    assert np.median(np.linalg.norm(shift - case.shift_px[:n], axis=1)) < 0.5


def _sphere(radius, edge):
    z, y, x = np.mgrid[:BOX, :BOX, :BOX] - BOX // 2
    beyond = np.clip((np.sqrt(x**2 + y**2 + z**2) - radius) / edge, 0.0, 1.0)
    return (0.5 + 0.5 * np.cos(np.pi * beyond)).astype(np.float32)
