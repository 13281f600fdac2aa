# SPDX-License-Identifier: GPL-3.0-or-later
"""Measured peak memory of whole runs against the forecast of contract/plan.py.

    python benchmarks/memory.py [--shapes NAME ...] [--folder DIR] > memory.json

Each shape is a stack of noise that is aligned once in a process of its own. What is compared is the
process's largest resident memory above that after all libraries and compiled kernels were loaded.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from cryoralib_plugin.contract._codec import from_flat
from cryoralib_plugin.contract.align2d import MultireferenceConfig, ReferenceFreeConfig
from cryoralib_plugin.contract.plan import GIB, forecast, workload_of
from cryoralib_plugin.io.mrc import MrcStackWriter

SHAPES = {
    "many small": ("mra", 1, 60_000, 64, {"n_classes": 10}),
    "reference-free": ("rfa", 1, 32_000, 90, {}),
    "two ranks": ("mra", 2, 64_000, 90, {"n_classes": 10}),
    "many classes": ("mra", 1, 2_400, 160, {"n_classes": 500, "n_iterations": 2}),
    "large box, down-sampled": ("mra", 1, 6_000, 256, {"n_classes": 10, "downsample_box_px": 224}),
    "large batch": (
        "mra", 1, 24_000, 128, {"n_classes": 10, "cache": "none", "batch_size": 6000},
    ),
}  # fmt: skip
"""Program, ranks, particles, box on disk and parameters that differ from the defaults."""

COMMON = {"n_iterations": 1, "shift_range_px": "0", "mirror": False, "backend": "cpu"}
CONFIGS = {"mra": MultireferenceConfig, "rfa": ReferenceFreeConfig}

# A small run loads and compiles everything; its peak is the floor of the large run's.
CHILD = """
import json, sys
from cryoralib_plugin.cli import main

def status(name):
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))

warm, real = json.loads(sys.argv[1])
assert main(warm) == 0
before = status("VmRSS:")
open("/proc/self/clear_refs", "w").write("5")
assert main(real) == 0
print(json.dumps({"before": before, "peak": status("VmHWM:")}))
"""


def write_noise(path: Path, n_particles: int, box: int) -> None:
    """A stack of white noise, the same block again and again: its content takes no memory."""
    block = np.random.default_rng(0).standard_normal((100, box, box), np.float32)
    with MrcStackWriter(path, pixel_size_angst=2.0) as stack:
        for _ in range(0, n_particles, len(block)):
            stack.append(block)


def measure(name: str, folder: Path) -> dict:
    """Forecast and measurement of one shape."""
    program, n_ranks, n_particles, box, differing = SHAPES[name]
    stack, small = folder / "noise.mrcs", folder / "small.mrcs"
    write_noise(stack, n_particles, box)
    write_noise(small, 200, box)
    common = {**COMMON, **differing}
    config = from_flat(CONFIGS[program], {**common, "particles_file": str(stack)})
    threads = max(1, len(os.sched_getaffinity(0)) // n_ranks)
    work = workload_of(
        config, n_particles=n_particles, image_box_px=box, n_ranks=n_ranks, threads=threads
    )
    plan = forecast(work)
    of_warm = {**common, "batch_size": 16, **({"n_classes": 2} if program == "mra" else {})}
    warm = [program, *words(of_warm, small, folder / "warm")]
    real = [program, *words(common, stack, folder / "real")]
    command = [sys.executable, "-c", CHILD, json.dumps([warm, real])]
    if n_ranks > 1:
        command = [str(Path(sys.executable).parent / "mpirun"), "-n", str(n_ranks), *command]
    done = subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, check=True)
    ranks = [json.loads(line) for line in done.stdout.splitlines()]
    measured = max(seen["peak"] - seen["before"] for seen in ranks)
    return {
        "shape": name,
        "forecast_gib": plan.host_bytes / GIB,
        "measured_gib": measured / GIB,
        "ratio": plan.host_bytes / measured,
        "parts_mib": {part: size / 2**20 for part, size in plan.parts.items()},
    }


def words(values: dict, particles: Path, output: Path) -> list:
    """The options of a run."""
    flat = {**values, "particles_file": particles, "output_dir": output}
    flags = []
    for name, value in flat.items():
        flag = "--" + name.replace("_", "-")
        if isinstance(value, bool):
            flags.append(flag if value else "--no-" + flag[2:])
        else:
            flags.append(f"{flag}={value}")
    return flags


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shapes", nargs="*", default=list(SHAPES), choices=list(SHAPES))
    parser.add_argument("--folder", type=Path, help="where the stacks are written meanwhile")
    chosen = parser.parse_args()
    found = []
    for name in chosen.shapes:
        with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
            found.append(measure(name, Path(folder)))
        sys.stderr.write(f"{found[-1]}\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
