# SPDX-License-Identifier: GPL-3.0-or-later
"""Ranks and threads (F4): THUNDER's case for three rounds on 1, 2 and 4 ranks, 1 and 2 threads.

    python benchmarks/refine3d_ranks.py [--cuda]

Maps and poses are the same to the bit on the CPU; with --cuda poses agree to 0.05 degrees for 99 %.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks._refine3d import Run, Verdicts, arguments, errors, folder_of, poses_of, refine
from benchmarks.refine3d_thunder import CASE, PIXEL

CASES = {"plain": (0, 2), "one_thread": (0, 1), "2_ranks": (2, 1), "4_ranks": (4, 1)}
"""Ranks under mpirun (0: without it) and threads of each."""


def main() -> int:
    """Run the case in every way and compare."""
    parser = arguments(__doc__)
    parser.add_argument("--cuda", action="store_true")
    given = parser.parse_args()
    folder, verdicts = folder_of(given), Verdicts()

    def run_of(name: str, ranks: int, threads: int, backend: str) -> Run:
        given.ranks, given.threads = ranks, threads
        return refine(
            folder / name, given, particles_file=CASE / "parts.thu", pixel_size_angst=PIXEL,
            reference_file=CASE / "init.mrc", symmetry="C1", initial_resolution_angst=40,
            particle_diameter_angst=132, shift_std_px=2, maximum_rounds=3, backend=backend,
        )  # fmt: skip

    runs = {name: run_of(name, *way, "cpu") for name, way in CASES.items()}
    plain = runs.pop("plain")
    truth = poses_of(plain.particles())
    for name, run in runs.items():
        equal = all(np.array_equal(*pair) for pair in zip(plain.halves(), run.halves()))
        verdicts.say(f"{name}: half maps are the same to the bit", equal, "yes", equal)
        apart = errors(poses_of(run.particles()), truth).angle_deg
        verdicts.below(f"{name}: largest difference of poses (deg)", apart.max(), 1e-3)
    if given.cuda:
        apart = errors(poses_of(run_of("cuda", 0, 2, "cuda").particles()), truth).angle_deg
        verdicts.above("cuda: share of poses within 0.05 deg", (apart < 0.05).mean(), 0.99)
    return verdicts.end(folder)


if __name__ == "__main__":
    sys.exit(main())
