# SPDX-License-Identifier: GPL-3.0-or-later
"""The same refinement on the CPU and on CUDA, round by round: how far poses and maps differ.

    python benchmarks/refine3d_backends.py [--particles N]

Blobs with a posterior a degree wide, three global rounds and three local ones. The first round has
the same map on both; later ones have each its own. Without a GPU the kernels run on the host.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Iterator, Tuple

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from cryoralib_plugin.geometry.rotations import angle_between
from cryoralib_plugin.kernels.device import CpuDevice, CudaDevice
from cryoralib_plugin.refine3d.expectation import Outcome
from cryoralib_plugin.refine3d.maximization import maximization
from cryoralib_plugin.refine3d.round import compare_and_sum
from cryoralib_plugin.refine3d.run import _first_cloud
from cryoralib_plugin.refine3d.schedule import Step
from cryoralib_plugin.refine3d.start import state_of_map
from cryoralib_plugin.refine3d.state import GLOBAL, LOCAL
from tests.kernels.host_cuda.host_cupy import make_module
from tests.reference.known_poses import posed_blobs, with_parameters

BOX = 32
STEPS = [Step(1, GLOBAL, 11, 13), *(Step(i, GLOBAL, 12, 14) for i in (2, 3))]
STEPS += [Step(i, LOCAL, 12, 14) for i in (4, 5, 6)]


def main() -> int:
    """Refine on both and print the differences of every round."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--particles", type=int, default=200)
    given = parser.parse_args()
    if find_spec("cupy") is None:
        print("no CuPy: the CUDA kernels run on the host")
        sys.modules["cupy"] = make_module()
    posed = posed_blobs(
        given.particles, BOX, amplitude=1.0, particle_diameter_angst=80.0,
        initial_resolution_angst=16.0, start_from_poses=False,
    )  # fmt: skip
    print("round  stage   width  median  99 %   within 0.05 degrees  correlation of maps")
    both = zip(STEPS, rounds(posed, CpuDevice()), rounds(posed, CudaDevice(0)))
    for step, (here, maps), (there, others) in both:
        apart = angle_between(here.rotations, there.rotations)
        alike = np.corrcoef(maps.ravel(), others.ravel())[0, 1]
        print(
            f"{step.iteration:5d}  {step.stage:6}  {np.median(here.angular_std_deg):5.2f}"
            f"  {np.median(apart):6.4f}  {np.quantile(apart, 0.99):5.3f}"
            f"  {(apart < 0.05).mean():19.1%}  {alike:.7f}",
            flush=True,
        )
    return 0


def rounds(posed: Any, device: Any) -> Iterator[Tuple[Outcome, np.ndarray]]:
    """Yield what every round says of the particles, and its maps."""
    task = with_parameters(posed.task, "filter", n_scan_rotations=2000, shift_std_px=1.5)
    task = replace(task, device=device)
    noise = np.full((2, 1, BOX // 2 + 1), posed.noise_power)
    state, cloud = state_of_map(task, posed.volume, noise), _first_cloud(task)
    before = Outcome.none(len(task.rows), 1)
    for step in STEPS:
        sums, before = compare_and_sum(task, state, step, cloud, before, lambda n: None)
        state = maximization(task, sums, state, step)[0]
        yield before, state.references


if __name__ == "__main__":
    sys.exit(main())
