# SPDX-License-Identifier: GPL-3.0-or-later
"""Time the Scipion side: SetOfParticles to STAR, and result STAR to SetOfClasses2D.

    python benchmarks/scipion_bulk.py [--particles 100000] [--classes 50] [--output FILE.json]

The particles have a CTF, a coordinate, an acquisition and a 2D pose each; their images are not
made. The bound is 20 s for either direction with 100,000 particles and 50 classes.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "tests" / "scipion")]

from cryoralib_plugin.scipion.environment import scipion_environment

os.environ.update(scipion_environment(Path(tempfile.mkdtemp()), isolated=True))

import numpy as np
import pyworkflow as pw

pw.Config.setDomain("pwem")

import mrcfile
from pwem.objects import SetOfClasses2D, SetOfParticles
from pyworkflow.object import Pointer
from synthetic_set import fill_in_bulk, write_results

from cryoralib_plugin.scipion.convert import write_particles
from cryoralib_plugin.scipion.outputs import (
    ClassOfRun,
    RunOutput,
    fill_classes,
    fill_particles,
    read_assignments,
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--particles", type=int, default=100_000)
    parser.add_argument("--classes", type=int, default=50)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    os.chdir(tempfile.mkdtemp())
    with mrcfile.new("stack.mrcs") as stack:
        stack.set_data(np.zeros((1, 8, 8), np.float32))
    with mrcfile.new("averages.mrcs") as stack:
        stack.set_data(np.zeros((arguments.classes, 8, 8), np.float32))
    particles = SetOfParticles(filename="particles.sqlite")
    fill_in_bulk(particles, arguments.particles, "stack.mrcs")
    particles.write()
    seconds = {}

    start = time.perf_counter()
    write_particles(particles, "particles.star", Path("images"))
    seconds["set_to_star"] = time.perf_counter() - start

    write_results("results.star", arguments.particles, arguments.classes)
    run = RunOutput(
        1,
        "averages.mrcs",
        1.5,
        tuple(ClassOfRun(k + 1, 1, 10.0, 0.5) for k in range(arguments.classes)),
    )
    classes = SetOfClasses2D(filename="classes2D.sqlite")
    classes._imagesPointer = Pointer(particles)

    start = time.perf_counter()
    assignments = read_assignments(Path("results.star"), 1.5)
    seconds["read_results"] = time.perf_counter() - start
    fill_classes(classes, assignments, run)
    classes.write()
    seconds["star_to_classes"] = time.perf_counter() - start

    start = time.perf_counter()
    output = SetOfParticles(filename="output.sqlite")
    fill_particles(output, particles, assignments)
    output.write()
    seconds["poses_to_particles"] = time.perf_counter() - start

    record = {
        "particles": arguments.particles,
        "classes": arguments.classes,
        "seconds": {name: round(value, 2) for name, value in seconds.items()},
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "load": os.getloadavg()[0],
    }
    text = json.dumps(record, indent=2)
    print(text)
    if arguments.output:
        arguments.output.write_text(text + "\n")


if __name__ == "__main__":
    main()
