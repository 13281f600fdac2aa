# SPDX-License-Identifier: GPL-3.0-or-later
"""Milliseconds per particle and iteration of MRA and RFA on the processor, against SPARX.

    python benchmarks/align2d_speed.py [--particles 2000] [--repeats 5] [--json FILE]

One iteration is timed as a program runs it: normalisation, matching at all shifts, angles and both
hands, new averages with their halves, FRC and filter. Reading, writing and compilation are not in
it. References are smooth projections of other views (band below 0.2 cycles per pixel); 90 px,
outer radius 36 px, shift step 1 px. The rate of a 2048^3 float32 matrix product on the same cores
is measured in the same run. ``winners`` is the share of particles whose reference, hand and shift
are those of an exhaustive float64 search of the same preset (tests/reference).
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import numba
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from cryoralib_plugin.align2d import run
from cryoralib_plugin.align2d.expectation import search_plan
from cryoralib_plugin.contract._codec import from_flat
from cryoralib_plugin.contract.align2d import MultireferenceConfig, ReferenceFreeConfig
from cryoralib_plugin.contract.presets import apply_preset
from cryoralib_plugin.contract.results import ResultPaths
from cryoralib_plugin.contract.schedule import shift_stages
from cryoralib_plugin.fourier.filters import apply_filter, tanh_profile
from cryoralib_plugin.io.run_files import RunFiles
from cryoralib_plugin.kernels.device import open_device
from cryoralib_plugin.kernels.ring_match import match_rings, prepare_references
from cryoralib_plugin.parallel.communicator import SerialCommunicator
from cryoralib_plugin.particles.source import ArraySource
from cryoralib_plugin.particles.table import ParticleTable
from cryoralib_plugin.simulate.view_set import simulate_views
from tests.reference import ring_match as reference

RADIUS_PX = 36
# Milliseconds of SPARX, assignment alone, two cores of 110 GFLOP/s each (its best of five).
SPARX_MS = {
    ("mra", 5): 4.0,
    ("mra", 20): 7.6,
    ("mra", 60): 19.5,
    ("rfa", 1): 0.62,
    ("rfa", 2): 1.5,
    ("rfa", 3): 2.9,
    ("rfa", 4): 4.6,
}
BOUND_MS = {
    ("mra", 5): 0.9,
    ("mra", 20): 1.1,
    ("mra", 60): 2.0,
    ("rfa", 1): 0.15,
    ("rfa", 2): 0.35,
    ("rfa", 3): 0.7,
    ("rfa", 4): 1.1,
}


def product_rate() -> float:
    """GFLOP/s of one thread's share of a 2048^3 float32 product on all threads."""
    rng = np.random.default_rng(0)
    a = rng.random((2048, 2048), dtype=np.float32)
    a @ a
    times = []
    for _ in range(3):
        start = time.perf_counter()
        a @ a
        times.append(time.perf_counter() - start)
    return 2 * 2048**3 / min(times) / 1e9 / numba.get_num_threads()


def smooth_views(n_views: int, seed: int) -> np.ndarray:
    """(n_views, 90, 90) float32 projections of random directions without detail beyond 0.2 / px."""
    views = simulate_views(
        n_views,
        1,
        seed=seed,
        view_choice="uniform",
        apply_ctf=False,
        snr=1000.0,
        shift_max_px=0.0,
        view_separation_deg=5.0,
    )
    frequency = np.linspace(0.0, 0.5, 46)
    y, x = np.fft.fftfreq(90)[:, None], np.fft.rfftfreq(90)[None]
    transfer = np.interp(np.hypot(x, y), frequency, tanh_profile(frequency, 0.14, 0.2))
    return apply_filter(views.signal, transfer.astype(np.float32))


def measure(program: str, value: int, images: np.ndarray, preset: str, repeats: int) -> dict:
    """Time one case; ``value`` is K of MRA or the shift range of RFA."""
    flat = {
        "preset": preset,
        "outer_radius_px": RADIUS_PX,
        "n_iterations": 1,
        "shift_step_px": "1",
        "particles_file": "simulated.mrcs",
    }
    if program == "mra":
        averages = smooth_views(value, seed=5)
        config = from_flat(
            MultireferenceConfig, {**flat, "n_classes": value, "shift_range_px": "3"}
        )
    else:
        averages = smooth_views(1, seed=5)
        config = from_flat(ReferenceFreeConfig, {**flat, "shift_range_px": str(value)})
    table = ParticleTable.from_image_names(
        [f"{i + 1:06d}@simulated.mrcs" for i in range(len(images))],
        pixel_size_angst=3.0,
        box_size_px=90,
    )
    source = ArraySource(images, 3.0)
    times = []
    for _ in range(repeats + 1):
        with tempfile.TemporaryDirectory() as folder:
            paths = ResultPaths(folder)
            run(
                config,
                table,
                source,
                open_device("cpu"),
                SerialCommunicator(),
                RunFiles(paths),
                references=averages,
            )
            row = np.genfromtxt(paths.metrics_csv, delimiter=",", names=True)
        times.append(
            1e3
            * sum(float(row[name]) for name in row.dtype.names if name.startswith("seconds_"))
            / len(images)
        )
    return {
        "program": program,
        "value": value,
        "preset": preset,
        "ms": float(np.median(times[1:])),
        "ms_each": times[1:],
        "winners": winners(config, averages, images),
    }


def winners(config, averages: np.ndarray, images: np.ndarray, n: int = 60) -> float:
    """Share of particles whose winner is that of the exhaustive float64 search."""
    search = apply_preset(config).search
    plan = search_plan(search, shift_stages(search)[0], RADIUS_PX)
    n = min(n, 600 // len(averages), len(images))
    some, start = images[:n], np.zeros((n, 2))
    found = match_rings(
        some, start, prepare_references(averages, plan, normalise=search.normalise_references), plan
    )
    truth = reference.match_rings(
        some,
        start,
        reference.prepare_references(averages, plan, normalise=search.normalise_references),
        plan,
    )
    step = plan.step_px if search.refine_shift else 1e-6
    same = (found.reference == truth.reference) & (found.mirror == truth.mirror)
    same &= (np.abs(found.shift_px - truth.shift_px) <= step).all(axis=1)
    return float(same.mean())


def main() -> None:
    """Measure every case and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--particles", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--presets", nargs="+", default=["sparx_compat", "recommended"])
    parser.add_argument("--json", help="file that receives all figures")
    given = parser.parse_args()
    rate = product_rate()
    print(f"{numba.get_num_threads()} threads, float32 product {rate:.0f} GFLOP/s each")
    views = simulate_views(10, given.particles // 10, seed=11, snr=0.1, mirrored_fraction=0.5)
    results = []
    for preset in given.presets:
        for program, value in SPARX_MS:
            case = measure(program, value, views.images, preset, given.repeats)
            bound = BOUND_MS[program, value] * 110.0 / min(rate, 110.0)
            print(
                f"{program} {'K' if program == 'mra' else 'xr'} = {value:<3} {preset:<13} "
                f"{case['ms']:.3f} ms (bound {bound:.2f}, SPARX {SPARX_MS[program, value]:.2f})"
                f"  winners {case['winners']:.4f}",
                flush=True,
            )
            results.append({**case, "bound_ms": bound})
    if given.json:
        with open(given.json, "w", encoding="utf-8") as file:
            json.dump({"gflops_per_thread": rate, "results": results}, file, indent=1)


if __name__ == "__main__":
    main()
