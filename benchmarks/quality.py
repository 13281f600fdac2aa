# SPDX-License-Identifier: GPL-3.0-or-later
"""Quality of MRA on simulated views of known truth, as docs/benchmarks.md reports it.

    python benchmarks/quality.py                        the acceptance table: K = 20 and 10, 5 seeds
    python benchmarks/quality.py --classes 10 --presets recommended --seeds 11 \
        --set n_iterations=8                            one case, parameters changed

Each line of the output is one run; the last lines are medians over the seeds.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import tempfile
import time

import numpy as np

from cryoralib_plugin.align2d import run
from cryoralib_plugin.align2d.truth import class_quality
from cryoralib_plugin.contract._codec import from_flat
from cryoralib_plugin.contract.align2d import MultireferenceConfig
from cryoralib_plugin.contract.results import ResultPaths
from cryoralib_plugin.fourier.filters import apply_filter
from cryoralib_plugin.io.run_files import RunFiles
from cryoralib_plugin.kernels.device import open_device
from cryoralib_plugin.optics.ctf import ctf_2d
from cryoralib_plugin.parallel.communicator import SerialCommunicator
from cryoralib_plugin.particles.source import ArraySource
from cryoralib_plugin.particles.table import ParticleTable
from cryoralib_plugin.simulate.view_set import QUALITY_SEEDS, ViewSet, simulate_views

OUTER_RADIUS_PX = 36


def prepared_images(views: ViewSet, correction: str) -> np.ndarray:
    """Return the images with the CTF treated as the parameter ``ctf_correction`` asks."""
    if correction == "none":
        return views.images
    pixel_size = views.config.object.pixel_size_angst
    out = np.empty_like(views.images)
    for first in range(0, len(out), 250):
        part = slice(first, first + 250)
        transfer = ctf_2d(views.ctf[part], out.shape[-1], pixel_size)
        if correction == "phase_flip":
            transfer = np.where(transfer < 0, np.float32(-1), np.float32(1))
        out[part] = apply_filter(views.images[part], transfer)
    return out


def table_of(views: ViewSet) -> ParticleTable:
    """Return the particle table of simulated views, optics included, poses not."""
    n, box = len(views.images), views.images.shape[-1]
    table = ParticleTable.from_image_names(
        [f"{i + 1:06d}@simulated.mrcs" for i in range(n)],
        pixel_size_angst=views.config.object.pixel_size_angst,
        box_size_px=box,
    )
    ctf = views.ctf
    return table.with_columns(
        {
            "rlnDefocusU": ctf.defocus_u_angst,
            "rlnDefocusV": ctf.defocus_v_angst,
            "rlnDefocusAngle": ctf.defocus_angle_deg,
            "rlnVoltage": ctf.voltage_kv,
            "rlnSphericalAberration": ctf.cs_mm,
            "rlnAmplitudeContrast": ctf.amplitude_contrast,
            "rlnPhaseShift": ctf.phase_shift_deg,
        }
    )


def measure(views: ViewSet, flat: dict) -> dict:
    """Run MRA with flat parameters and return its quality and time."""
    config = from_flat(MultireferenceConfig, {"particles_file": "simulated.star", **flat})
    source = ArraySource(
        prepared_images(views, config.ctf.ctf_correction), views.config.object.pixel_size_angst
    )
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        _, found = run(
            config,
            table_of(views),
            source,
            open_device("cpu"),
            SerialCommunicator(),
            RunFiles(ResultPaths(folder)),
        )
    seconds = time.perf_counter() - start
    quality = class_quality(found, views.view, views.poses, n_classes=config.search.n_classes)
    return {**dataclasses.asdict(quality), "seconds": seconds}


def words(text: str) -> tuple:
    """Return (name, value) of "name=value", the value as a number or truth value if it is one."""
    name, value = text.split("=", 1)
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def main() -> None:
    """Measure every case and print a table; --json FILE keeps the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--classes", type=int, nargs="+", default=[20, 10])
    parser.add_argument("--presets", nargs="+", default=["recommended", "sparx_compat"])
    parser.add_argument("--seeds", type=int, nargs="+", default=list(QUALITY_SEEDS))
    parser.add_argument("--set", type=words, nargs="*", default=[], metavar="NAME=VALUE")
    parser.add_argument("--simulate", type=words, nargs="*", default=[], metavar="NAME=VALUE")
    parser.add_argument("--ctf", default="phase_flip", help="ctf_correction")
    parser.add_argument("--json", help="file that receives all figures")
    given = parser.parse_args()
    results = []
    for seed in given.seeds:
        views = simulate_views(seed=seed, **dict(given.simulate))
        for n_classes in given.classes:
            for preset in given.presets:
                flat = {
                    "preset": preset,
                    "n_classes": n_classes,
                    "outer_radius_px": OUTER_RADIUS_PX,
                    "ctf_correction": given.ctf,
                    **dict(given.set),
                }
                case = {"classes": n_classes, "preset": preset, "seed": seed}
                results.append({**case, **measure(views, flat)})
                sys.stdout.write(line(results[-1]) + "\n")
                sys.stdout.flush()
    for n_classes in given.classes:
        for preset in given.presets:
            chosen = [r for r in results if (r["classes"], r["preset"]) == (n_classes, preset)]
            median = {name: float(np.median([r[name] for r in chosen])) for name in NUMBERS}
            case = {"classes": n_classes, "preset": preset, "seed": "median"}
            sys.stdout.write(line({**case, **median}) + "\n")
    if given.json:
        with open(given.json, "w", encoding="utf-8") as file:
            json.dump(results, file, indent=1)


NUMBERS = {
    "purity": "purity {:.3f}",
    "views_found": "views {:.0f}",
    "dead_classes": "dead {:.0f}",
    "effective_classes": "effective {:.1f}",
    "angle_error_deg": "angle {:.2f} deg",
    "wrong_hand": "wrong hand {:.3f}",
    "seconds": "{:.0f} s",
}


def line(result: dict) -> str:
    """Return one run as a line of the table."""
    case = "K {classes:<3} {preset:<13} seed {seed:<7}".format(**result)
    return case + "  ".join(text.format(result[name]) for name, text in NUMBERS.items())


if __name__ == "__main__":
    main()
