# SPDX-License-Identifier: GPL-3.0-or-later
"""Speed of what 3D refinement does most: the global scan, local scores and insertion.

    python benchmarks/scan_speed.py [--repeats 5] [--backend cpu|cuda] [--json FILE]

The scan's rate counts the multiplications of its two matrix products alone (4 |Omega| n n_T n_R and
2 |Omega| n n_R) over the time of all of it: products, normaliser, marginals and the heaviest
rotations. Beside it stands the rate of a 2048^3 float32 product in the same run (8192^3 on a GPU);
the bound is one half of it on the CPU for |Omega| >= 250. The time to compute the slices is given
apart. Local scores and insertion are given per particle, beside the bytes of the grid they touch:
64 a sample read, 192 a sample written.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
from scipy.linalg import expm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from cryoralib_plugin.fourier.band import FourierBand
from cryoralib_plugin.fourier.volume import fourier_volume
from cryoralib_plugin.kernels.backproject import SliceSums, Views, backproject
from cryoralib_plugin.kernels.device import open_device
from cryoralib_plugin.kernels.project import project
from cryoralib_plugin.kernels.score import WhitenedParticles, local_scores
from cryoralib_plugin.kernels.score.scan import start_scan, update_scan
from tests.reference.fourier_grid import random_rotations

# Box, lowest and highest Fourier px, particles, shifts, rotations of one scan.
SCANS = {
    "phantom, 64 px, r = 13": (64, 1, 13, 100, 30, 3000),
    "CNG, 160 px, r = 15, |Omega| = 353": (160, 2, 15, 64, 151, 2000),
    "160 px, r = 25": (160, 2, 25, 32, 151, 1000),
}
DEVICE_FACTOR = 16
# The channel of Qiao et al. (2019): its whole scan follows from the time of a sample of it.
WHOLE = {"CNG, 160 px, r = 15, |Omega| = 353": (211_826, 10_000)}


def seconds(function, device, repeats: int) -> float:
    """Median of repeated calls, after one that compiles."""
    times = []
    for _ in range(repeats + 1):
        device.synchronize()
        start = time.perf_counter()
        function()
        device.synchronize()
        times.append(time.perf_counter() - start)
    return float(np.median(times[1:]))


def product_rate(device, repeats: int) -> float:
    """GFLOP/s of a large float32 product."""
    size = 2048 if device.kind == "cpu" else 8192
    a = device.to_device(np.random.default_rng(0).random((size, size), dtype=np.float32))
    return 2 * size**3 / seconds(lambda: a @ a, device, repeats) / 1e9


def particles_of(n: int, band: FourierBand, device) -> WhitenedParticles:
    """Noise with a CTF: speed does not depend on what is in it."""
    rng = np.random.default_rng(1)
    spectra = rng.normal(size=(n, band.n_terms, 2)).astype(np.float32).view(np.complex64)[..., 0]
    ctf = rng.uniform(-1, 1, (n, 1, band.n_terms)).astype(np.float32)
    return device.to_device(WhitenedParticles(spectra, ctf))


def scan(case: tuple, device, repeats: int) -> dict:
    """Time one scan, slices given, and the making of the slices."""
    box, low, high, n, n_shifts, n_rotations = case
    if device.kind == "cuda":
        n *= DEVICE_FACTOR
    band = FourierBand.between(box, low, high)
    rng = np.random.default_rng(2)
    # One noise unit per term is the usual order of magnitude of a particle's signal.
    volume = fourier_volume(
        device.to_device(rng.normal(scale=0.3 / box, size=(box,) * 3).astype(np.float32)),
        max_radius_px=high,
    )
    # A slice stands for two rotations.
    n_slices = n_rotations // 2
    rotations = device.to_device(random_rotations(n_slices, 3))
    particles = particles_of(n, band, device)
    shifts = device.to_device(rng.normal(scale=3.0, size=(n_shifts, 2)))
    slices = project(volume, rotations, band)

    def once() -> None:
        state = start_scan(particles, shifts, band, n_kept=50)
        for first in range(0, n_slices, 500):
            update_scan(state, slices[first : first + 500], first)

    took = seconds(once, device, repeats)
    operations = 2 * band.n_terms * n * n_rotations * (2 * n_shifts + 1)
    return {
        "n_terms": band.n_terms,
        "gflops": operations / took / 1e9,
        "ms_per_particle": 1e3 * took / n,
        "slices_ms_per_1000": 1e6
        / n_slices
        * seconds(lambda: project(volume, rotations, band), device, repeats),
    }


def local(device, repeats: int, n: int = 40) -> dict:
    """Time local scores and insertion at 160 px, r = 40, 125 rotations x 9 shifts."""
    box, high, n_rotations, n_shifts, n_views = 160, 40, 125, 9, 10
    band = FourierBand.between(box, 2, high)
    rng = np.random.default_rng(4)
    volume = fourier_volume(
        device.to_device(rng.normal(size=(box,) * 3).astype(np.float32)), max_radius_px=high
    )
    particles = particles_of(n, band, device)
    # A cloud about each particle's pose, as wide as a few degrees.
    turns = np.random.default_rng(6).normal(scale=0.03, size=(n, n_rotations, 3))
    cloud = np.zeros((n, n_rotations, 3, 3))
    for axis in range(3):
        one, other = (axis + 1) % 3, (axis + 2) % 3
        cloud[..., other, one], cloud[..., one, other] = turns[..., axis], -turns[..., axis]
    cloud = expm(cloud)
    rotations = device.to_device(random_rotations(n, 5)[:, None] @ cloud)
    shifts = device.to_device(rng.normal(size=(n, n_shifts, 2)))
    scoring = seconds(
        lambda: local_scores(volume, particles, rotations, shifts, band), device, repeats
    )
    sums = SliceSums.zeros(band, device)
    views = Views(
        rotations[:, :n_views].reshape(-1, 3, 3),
        np.repeat(np.arange(n), n_views),
        device.to_device(np.full(n * n_views, 0.1, np.float32)),
    )
    power = particles.ctf[:, 0] ** 2
    inserting = seconds(
        lambda: backproject(sums, particles.spectra, power, views, band), device, repeats
    )
    samples = band.n_terms * n
    return {
        "n_terms": band.n_terms,
        "local_ms_per_particle": 1e3 * scoring / n,
        "local_gib_per_s": 64 * samples * n_rotations / scoring / 2**30,
        "insertion_ms_per_view": 1e3 * inserting / (n * n_views),
        "insertion_gib_per_s": 192 * samples * n_views / inserting / 2**30,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--backend", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--json", help="file that receives all figures")
    given = parser.parse_args()
    device = open_device(given.backend)
    rate = product_rate(device, given.repeats)
    print(f"{device.name}, float32 product {rate:.0f} GFLOP/s", flush=True)
    results = {"device": device.name, "product_gflops": rate, "scans": {}}
    for name, case in SCANS.items():
        found = scan(case, device, given.repeats)
        results["scans"][name] = {**found, "share": found["gflops"] / rate}
        print(
            f"scan, {name} ({found['n_terms']} terms): {found['gflops']:.0f} GFLOP/s, "
            f"{found['gflops'] / rate:.0%} of the product; {found['ms_per_particle']:.2f} ms a "
            f"particle; slices {found['slices_ms_per_1000']:.1f} ms per 1000",
            flush=True,
        )
        if name in WHOLE:
            n_particles, n_rotations = WHOLE[name]
            found["whole_hours"] = (
                found["ms_per_particle"] * n_particles * n_rotations / case[-1] / 3.6e6
            )
            print(
                f"    all {n_particles} particles and {n_rotations} rotations, by extrapolation: "
                f"{found['whole_hours']:.2f} h",
                flush=True,
            )
    results["local"] = found = local(device, given.repeats)
    print(
        f"local, 125 x 9 points, {found['n_terms']} terms: {found['local_ms_per_particle']:.2f} ms "
        f"a particle ({found['local_gib_per_s']:.1f} GiB/s of grid); insertion "
        f"{found['insertion_ms_per_view']:.3f} ms a view ({found['insertion_gib_per_s']:.1f} GiB/s)"
    )
    if given.json:
        with open(given.json, "w", encoding="utf-8") as file:
            json.dump(results, file, indent=1)


if __name__ == "__main__":
    main()
