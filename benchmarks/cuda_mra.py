# SPDX-License-Identifier: GPL-3.0-or-later
"""Seconds per MRA iteration on one GPU at the paper's shapes, by phase, against the table method.

    python benchmarks/cuda_mra.py [--particles 105247] [--references 10 20 40 60] [--json FILE]

90 px, outer radius 36 px, shifts within 3 px in steps of 1, both hands; particles stay on the
device. An iteration is matching and new class sums. The device's rates for a float32 matrix
product and a copy are measured in the same run; "gemm_share" is the share of the first that our
products reach, "inverse_copy_share" the share of the second at which the fused inverse reads them.
The table method (benchmarks/table_method.py) is timed on as many particles as fit its memory and
scaled.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any, Callable

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.table_method import TableMethod
from cryoralib_plugin.fourier.filters import apply_filter, tanh_profile
from cryoralib_plugin.geometry.rigid2d import Poses2D
from cryoralib_plugin.geometry.rings import RingLayout
from cryoralib_plugin.kernels.class_sums import ClassSums, accumulate
from cryoralib_plugin.kernels.device import CudaDevice
from cryoralib_plugin.kernels.ring_match import (
    MatchPlan,
    _cuda_fast,
    cuda,
    match_rings,
    prepare_references,
    shift_grid,
)
from cryoralib_plugin.kernels.ring_match._cuda_tables import DeviceTables
from cryoralib_plugin.kernels.transform2d import transform_images

UNIQUE_PARTICLES = 4096
SNR = 0.05


def smooth_references(n: int, box: int, rng: np.random.Generator) -> np.ndarray:
    """(n, box, box) float32 blobs within the rings, without detail beyond 0.2 / px, variance 1."""
    distance = np.hypot(*(np.mgrid[:box, :box] - box // 2))
    spots = rng.normal(size=(n, box, box)) * (distance < 0.3 * box)
    radii = np.hypot(np.fft.fftfreq(box)[:, None], np.fft.rfftfreq(box)[None])
    transfer = np.interp(
        radii, np.linspace(0, 0.75, 200), tanh_profile(np.linspace(0, 0.75, 200), 0.1, 0.2)
    )
    smooth = apply_filter(spots.astype(np.float32), transfer.astype(np.float32))
    return smooth / smooth[:, distance < 0.4 * box].std(axis=1)[:, None, None]


def noisy_particles(references: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """(n, box, box) float32 moved references in white noise."""
    turn = Poses2D(rng.uniform(0, 360, n), rng.uniform(-2, 2, (n, 2)), rng.random(n) < 0.5)
    signal = transform_images(references[rng.integers(len(references), size=n)], turn)
    noise = rng.standard_normal(signal.shape, dtype=np.float32)
    return (signal * np.float32(SNR**0.5) + noise).astype(np.float32)


class Timer:
    """Times calls on a device, waiting for it before and after."""

    def __init__(self, device: CudaDevice, repeats: int) -> None:
        self._device, self._repeats = device, repeats

    def __call__(self, work: Callable[[], Any]) -> float:
        """Return the median seconds of ``work`` after one call that is not counted."""
        seconds = []
        for _ in range(self._repeats + 1):
            self._device.synchronize()
            start = time.perf_counter()
            work()
            self._device.synchronize()
            seconds.append(time.perf_counter() - start)
        return float(np.median(seconds[1:]))


def device_limits(xp: Any, timer: Timer, size: int) -> dict[str, float]:
    """Return the rates of a ``size``^3 float32 product (FLOP/s) and of a copy (bytes/s)."""
    a, out = (xp.zeros((size, size), dtype=np.float32) for _ in range(2))
    gemm = 2.0 * size**3 / timer(lambda: xp.matmul(a, a, out=out))
    block = xp.zeros(4 * size * size, dtype=np.float32)
    target = xp.empty_like(block)

    def copy() -> None:
        target[...] = block

    return {"gemm_flops": gemm, "copy_bytes": 2.0 * block.nbytes / timer(copy)}


def phases(
    xp: Any, timer: Timer, images: Any, references: Any, plan: MatchPlan, limits: dict[str, float]
) -> dict[str, float]:
    """Seconds of the steps of the search on one batch, and how near they come to the limits."""
    n_references, shifts = references.n_references, np.zeros((len(images), 2))
    tables = DeviceTables.build(xp, references, plan)
    centres = images.shape[-1] // 2 - (shifts[:, None] + plan.shift_grid_px)
    whole = (0, n_references)
    spectra = _cuda_fast.ring_spectra(xp, images, centres, references, plan, tables)

    def heights() -> Any:
        return _cuda_fast.peak_heights(xp, spectra, references, plan, tables, whole)

    found = {
        "spectra": timer(
            lambda: _cuda_fast.ring_spectra(xp, images, centres, references, plan, tables)
        ),
        "products_and_inverse": timer(heights),
    }
    compile_kernel = _cuda_fast.kernel
    _cuda_fast.kernel = lambda *names, **options: lambda *launch, **more: None
    try:
        found["products"] = timer(heights)
    finally:
        _cuda_fast.kernel = compile_kernel
    found["inverse"] = max(found.pop("products_and_inverse") - found["products"], 1e-9)
    search = cuda._BatchSearch(xp, images, shifts, references, plan, tables, whole)
    found["exact"] = timer(lambda: search.best(False))
    depth = int((plan.rings.n_rings - references.first_ring).sum())
    columns = len(images) * plan.n_shifts
    flops = 8.0 * n_references * columns * depth
    table = 16.0 * references.n_harmonics * n_references * columns
    found["gemm_share"] = flops / found["products"] / limits["gemm_flops"]
    found["inverse_copy_share"] = table / found["inverse"] / limits["copy_bytes"]
    return found


def measure(device: CudaDevice, n_references: int, options: argparse.Namespace) -> dict[str, Any]:
    """Time one number of references."""
    xp, rng = device._cupy, np.random.default_rng(n_references)
    timer = Timer(device, options.repeats)
    limits = device_limits(xp, timer, options.limit_size)
    averages = smooth_references(n_references, options.box, rng)
    unique = min(UNIQUE_PARTICLES, options.particles)
    images = device.to_device(noisy_particles(averages, unique, rng))
    plan = MatchPlan(
        RingLayout.from_radii(1, options.radius), shift_grid(options.reach, options.reach, 1.0)
    )
    half = np.arange(unique) % 2

    def iteration() -> None:
        references = prepare_references(averages, plan, normalise=True)
        sums = ClassSums.zeros(n_references, options.box, device)
        for first in range(0, options.particles, unique):
            batch = images[: min(unique, options.particles - first)]
            found = match_rings(batch, np.zeros((len(batch), 2)), references, plan)
            accumulate(sums, batch, found.poses, found.reference, half[: len(batch)])

    seconds = timer(iteration)
    references = prepare_references(averages, plan, normalise=True)
    room = cuda._batch_size(xp, _cuda_fast.bytes_per_particle(references, plan, n_references))
    batch = images[: min(unique, room)]
    by_phase = phases(xp, timer, batch, references, plan, limits)
    table = TableMethod(xp, averages, options.radius, options.reach)
    n_table = max(1, min(unique, int(0.4 * device.free_bytes()) // table.bytes_per_particle))
    table_seconds = timer(lambda: table.match(images[:n_table])) * options.particles / n_table
    evaluations = options.particles * n_references * plan.n_shifts
    return {
        "device": device.name,
        "n_references": n_references,
        "n_particles": options.particles,
        "n_harmonics": references.n_harmonics,
        "seconds_per_iteration": seconds,
        "particle_reference_shifts_per_second": evaluations / seconds,
        "table_method_seconds": table_seconds,
        "times_faster": table_seconds / seconds,
        "phase_batch": len(batch),
        **{f"phase_{name}": value for name, value in by_phase.items()},
        **limits,
    }


def main(arguments: list[str]) -> list[dict[str, Any]]:
    """Measure what is asked for, print one line a case and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--particles", type=int, default=105_247)
    parser.add_argument("--references", type=int, nargs="+", default=[10, 20, 40, 60])
    parser.add_argument("--box", type=int, default=90, help="px")
    parser.add_argument("--radius", type=int, default=36, help="px")
    parser.add_argument("--reach", type=int, default=3, help="largest shift, px")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--limit-size", type=int, default=8192, help="side of the limit's matrices")
    parser.add_argument("--gpu", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    device = CudaDevice(options.gpu)
    cases = []
    for n_references in options.references:
        case = measure(device, n_references, options)
        cases.append(case)
        print(
            f"K = {n_references:3d}: {case['seconds_per_iteration']:.3f} s an iteration, "
            f"{case['times_faster']:.1f} x the table method, "
            f"{100 * case['phase_gemm_share']:.0f} % of the GEMM rate"
        )
    if options.json:
        options.json.write_text(json.dumps(cases, indent=2), encoding="utf-8")
    return cases


if __name__ == "__main__":
    main(sys.argv[1:])
