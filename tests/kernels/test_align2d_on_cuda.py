# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole program on a CUDA device gives what it gives on the CPU."""

from __future__ import annotations

import numpy as np
import pytest

from cryoralib_plugin.align2d import run
from cryoralib_plugin.contract import labels
from cryoralib_plugin.contract._codec import from_flat
from cryoralib_plugin.contract.align2d import MultireferenceConfig, ReferenceFreeConfig
from cryoralib_plugin.contract.results import ResultPaths
from cryoralib_plugin.io.run_files import RunFiles
from cryoralib_plugin.kernels.device import CpuDevice
from cryoralib_plugin.parallel.communicator import SerialCommunicator
from cryoralib_plugin.particles.source import ArraySource
from cryoralib_plugin.particles.table import ParticleTable
from cryoralib_plugin.simulate.view_set import simulate_views

BOX, RADIUS, PIXEL_SIZE = 28, 9, 4.0


def _run(folder, device, views, config, n_references):
    names = [f"{i + 1:06d}@simulated.mrcs" for i in range(len(views.images))]
    table = ParticleTable.from_image_names(names, pixel_size_angst=PIXEL_SIZE, box_size_px=BOX)
    n = len(names)
    optics = {
        labels.DEFOCUS_U: np.full(n, 15000.0),
        labels.DEFOCUS_V: np.full(n, 14000.0),
        labels.DEFOCUS_ANGLE: np.full(n, 30.0),
        labels.VOLTAGE: np.full(n, 300.0),
        labels.SPHERICAL_ABERRATION: np.full(n, 2.7),
        labels.AMPLITUDE_CONTRAST: np.full(n, 0.1),
    }
    table = table.with_columns(optics)
    files = RunFiles(ResultPaths(folder / device.kind))
    files.prepare()
    return run(
        config,
        table,
        ArraySource(views.images, PIXEL_SIZE),
        device,
        SerialCommunicator(),
        files,
        references=views.references[:n_references],
    )


@pytest.mark.parametrize(
    ("kind", "preset", "correction"),
    [
        (MultireferenceConfig, "recommended", "none"),
        (MultireferenceConfig, "sparx_compat", "none"),
        (ReferenceFreeConfig, "recommended", "phase_flip"),
        (MultireferenceConfig, "recommended", "wiener"),
    ],
)
def test_programs_agree(device_backend, tmp_path, kind, preset, correction):
    views = simulate_views(
        2,
        6,
        seed=3,
        snr=2.0,
        mirrored_fraction=0.5,
        box_size_px=BOX,
        disk_radius_px=RADIUS,
        pixel_size_angst=PIXEL_SIZE,
        object_diameter_angst=60.0,
        shift_max_px=1.0,
        apply_ctf=False,
    )
    config = from_flat(
        kind,
        {
            "particles_file": "simulated.star",
            "preset": preset,
            "outer_radius_px": RADIUS,
            "shift_range_px": "1",
            "n_iterations": 1,
            "ctf_correction": correction,
            **({"n_classes": 2} if kind is MultireferenceConfig else {}),
        },
    )
    n_references = 2 if kind is MultireferenceConfig else 1
    expected, here = _run(tmp_path, CpuDevice(), views, config, n_references)
    state, there = _run(tmp_path, device_backend.device, views, config, n_references)
    np.testing.assert_array_equal(there.reference, here.reference)
    np.testing.assert_array_equal(there.poses.mirror, here.poses.mirror)
    np.testing.assert_allclose(there.poses.shift_px, here.poses.shift_px, atol=1e-4)
    np.testing.assert_allclose(there.score, here.score, rtol=1e-6)
    np.testing.assert_allclose(state.averages, expected.averages, atol=1e-3)
