# SPDX-License-Identifier: GPL-3.0-or-later
"""Small simulated views and a run of the whole program in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from cryoralib_plugin.align2d import run
from cryoralib_plugin.contract._codec import from_flat
from cryoralib_plugin.contract.align2d import MultireferenceConfig, ReferenceFreeConfig
from cryoralib_plugin.contract.results import ResultPaths
from cryoralib_plugin.io.run_files import RunFiles
from cryoralib_plugin.kernels.device import CpuDevice
from cryoralib_plugin.parallel.communicator import SerialCommunicator
from cryoralib_plugin.particles.source import ArraySource
from cryoralib_plugin.particles.table import ParticleTable
from cryoralib_plugin.simulate.view_set import ViewSet, simulate_views

BOX, RADIUS, PIXEL_SIZE = 48, 18, 4.0
SIZES = {
    "box_size_px": BOX,
    "disk_radius_px": RADIUS,
    "pixel_size_angst": PIXEL_SIZE,
    "object_diameter_angst": 120.0,
    "shift_max_px": 2.0,
    "apply_ctf": False,
}


@dataclass
class Program:
    """Runs MRA or RFA on images in memory, its files in a folder."""

    folder: Any
    views: ViewSet

    def config(self, program: str = "mra", **flat: Any) -> Any:
        kind = {"mra": MultireferenceConfig, "rfa": ReferenceFreeConfig}[program]
        given = {
            "particles_file": "simulated.star",
            "outer_radius_px": RADIUS,
            "shift_range_px": "2",
            "annealing_iterations": 2,
            "n_iterations": 3,
            "n_classes": 4,
        }
        if program == "rfa":
            for name in ("annealing_iterations", "n_classes"):
                del given[name]
        return from_flat(kind, {**given, **flat})

    def table(self) -> ParticleTable:
        names = [f"{i + 1:06d}@simulated.mrcs" for i in range(len(self.views.images))]
        return ParticleTable.from_image_names(names, pixel_size_angst=PIXEL_SIZE, box_size_px=BOX)

    def files(self, name: str = "run") -> RunFiles:
        files = RunFiles(ResultPaths(self.folder / name))
        files.prepare()
        return files

    def run(self, config: Any, *, name: str = "run", **given: Any) -> Any:
        """Run; `given` may replace table, source, device and results, or add references."""
        table = given.pop("table", None)
        source = given.pop("source", None) or ArraySource(self.views.images, PIXEL_SIZE)
        results = given.pop("results", None) or self.files(name)
        table = self.table() if table is None else table
        device = given.pop("device", None) or CpuDevice()
        return run(config, table, source, device, SerialCommunicator(), results, **given)


@pytest.fixture(scope="session")
def views() -> ViewSet:
    """3 views x 30 particles, hands mixed, high signal."""
    return simulate_views(3, 30, seed=5, snr=0.5, mirrored_fraction=0.5, **SIZES)


@pytest.fixture
def program(tmp_path, views) -> Program:
    return Program(tmp_path, views)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)
