# SPDX-License-Identifier: GPL-3.0-or-later
"""Tasks of a 3D program in memory: particles whose poses, map and noise are known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import mrcfile
import numpy as np
import pandas as pd

from cryoralib_plugin.contract._codec import from_flat
from cryoralib_plugin.contract.refine3d import Refine3DConfig
from cryoralib_plugin.geometry.rotations import from_matrices
from cryoralib_plugin.kernels.device import CpuDevice
from cryoralib_plugin.optics.ctf import CtfParameters, ctf_2d
from cryoralib_plugin.parallel.communicator import SerialCommunicator
from cryoralib_plugin.particles.source import ArraySource
from cryoralib_plugin.particles.table import ParticleTable
from cryoralib_plugin.refine3d.task import make_task
from tests.reference.fourier_grid import random_rotations
from tests.reference.gaussian_map import blobs

PIXEL = 3.0


class Posed(NamedTuple):
    """A task, the map (N, N, N), and the noise power of a real or imaginary part."""

    task: Any
    volume: np.ndarray
    noise_power: float


def posed_blobs(
    n, box, *, seed=1, noise_std=1.0, amplitude=0.5, fold=1, intensity=1.0, columns=None, **flat
):
    """Particles of Gaussian blobs with CTF and white noise; their poses are in the table.

    `intensity` (n,) multiplies whole images; `columns` are added to the table.
    """
    rotations = random_rotations(n, seed)
    shift = np.random.default_rng(seed).uniform(-2, 2, (n, 2))
    volume, images = blobs(box, rotations, shift, n_blobs=20, widths_px=(1.1, 1.6), fold=fold)
    volume, images = amplitude * volume, amplitude * images
    defocus = np.random.default_rng(seed + 1).uniform(8000.0, 20000.0, n)
    blurred = np.fft.irfft2(np.fft.rfft2(images) * _ctf(defocus, box), s=(box, box))
    noise = np.random.default_rng(seed + 2).normal(scale=noise_std, size=images.shape)
    table = _table(defocus).with_poses3d(from_matrices(rotations), shift)
    images = (blurred + noise) * np.broadcast_to(intensity, n)[:, None, None]
    task = task_of(table.with_columns(columns or {}), images.astype(np.float32), **flat)
    return Posed(task, volume, 0.5 * box**2 * noise_std**2)


def posed_classes(n, box, *, noise_std=1.0, amplitude=0.5, **flat):
    """Particles of which every second one lacks a part of the molecule; the map is the whole one's.

    The second map is returned beside the case.
    """
    rotations = random_rotations(n, 1)
    shift = np.random.default_rng(1).uniform(-2, 2, (n, 2))
    core, part = (
        blobs(box, rotations, shift, n_blobs=number, widths_px=(1.1, 1.6), seed=seed)
        for number, seed in ((14, 4), (6, 5))
    )
    has_part = np.arange(n) % 4 < 2
    images = core[1] + np.where(has_part[:, None, None], part[1], 0.0)
    defocus = np.random.default_rng(2).uniform(8000.0, 20000.0, n)
    blurred = np.fft.irfft2(np.fft.rfft2(amplitude * images) * _ctf(defocus, box), s=(box, box))
    noise = np.random.default_rng(3).normal(scale=noise_std, size=images.shape)
    table = _table(defocus).with_poses3d(from_matrices(rotations), shift)
    task = task_of(table, (blurred + noise).astype(np.float32), **flat)
    whole = amplitude * (core[0] + part[0])
    return Posed(task, whole, 0.5 * box**2 * noise_std**2), amplitude * core[0], has_part


def posed_thunder(folder, **flat):
    """THUNDER's test particles with their true poses; the noise is scaled to 1, the map with it."""
    truth = np.load(folder / "truth.npy")
    images = mrcfile.read(folder / "parts.mrcs").astype(np.float32)
    volume = mrcfile.read(folder / "truth.mrc").astype(np.float32)
    table = _table(truth[:, 6], truth[:, 7], np.degrees(truth[:, 8]))
    # THUNDER gives the displacement of the content.
    table = table.with_poses3d(truth[:, :4], -truth[:, 4:6])
    outside = np.hypot(*(np.mgrid[:64, :64] - 32)) > 27
    scale = images[:, outside].std()
    task = task_of(table, images / scale, particle_diameter_angst=150.0, **flat)
    return Posed(task, volume / scale, 0.5 * 64**2)


def task_of(table, images, comm=None, **flat):
    """A task of particles in memory; `flat` are parameters of a refinement."""
    options = {"particles_file": "a.star", "symmetry": "C1", "start_from_poses": True, **flat}
    config = from_flat(Refine3DConfig, options)
    source = ArraySource(images, PIXEL)
    return make_task(config, table, source, CpuDevice(), comm or SerialCommunicator())


def with_parameters(task, group, **changed):
    """The same task with other parameters in one group."""
    values = replace(getattr(task.config, group), **changed)
    return replace(task, config=replace(task.config, **{group: values}))


def _table(defocus_u, defocus_v=None, angle_deg=0.0):
    n = len(defocus_u)
    columns = {
        "rlnImageName": [f"{i + 1:06d}@particles.mrcs" for i in range(n)],
        "rlnDefocusU": defocus_u,
        "rlnDefocusV": defocus_u if defocus_v is None else defocus_v,
        "rlnDefocusAngle": angle_deg * np.ones(n),
        "rlnVoltage": 300.0,
        "rlnSphericalAberration": 2.7,
        "rlnAmplitudeContrast": 0.1,
        "rlnImagePixelSize": PIXEL,
    }
    return ParticleTable.from_blocks({"particles": pd.DataFrame(columns)}).at_pixel_size(PIXEL)


def _ctf(defocus, box):
    same = np.ones(len(defocus))
    optics = (defocus, defocus, 0 * same, 300 * same, 2.7 * same, 0.1 * same, 0 * same)
    return ctf_2d(CtfParameters(*optics), box, PIXEL)
