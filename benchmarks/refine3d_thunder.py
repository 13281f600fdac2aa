# SPDX-License-Identifier: GPL-3.0-or-later
"""THUNDER's own test case, refined: 800 particles of 64 px, noise three times the signal.

    python benchmarks/refine3d_thunder.py [--output DIR] [--set NAME=VALUE ...]

THUNDER 1.4.14 took 28 rounds and 41 minutes on 2 busy cores: 10.67 A, median pose error 1.33
degrees, 83 % of the poses within 10 degrees, FSC with the truth 0.5 at shell 19.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks._cramer_rao import Truth3D, cramer_rao, noise_of_residuals
from benchmarks._refine3d import (
    DATA,
    Verdicts,
    arguments,
    errors,
    folder_of,
    gauge_of,
    poses_of,
    refine,
    shell_to_truth,
)
from cryoralib_plugin.fourier.band import FourierBand
from cryoralib_plugin.fourier.masks3d import soft_sphere
from cryoralib_plugin.io.mrc import read_mrc
from cryoralib_plugin.simulate.map_molecule import map_molecule

CASE = DATA / "oracle" / "thunder_case"
PIXEL, BOX = 3.0, 64
TURNED_AWAY, ROUND_FROM = 0.02, 3


def case_truth(rows: slice = slice(None)) -> np.ndarray:
    """Return truth.npy: quaternion; displacement of the content; defoci; azimuth."""
    return np.load(CASE / "truth.npy")[rows]


def turn_over(run, truth: Truth3D) -> float:
    """Return the largest share of well-placed particles that leave in one global round, counted
    from the third round at one cut-off."""
    metrics = run.metrics
    worst, since = 0.0, 0
    for earlier, later in zip(metrics.itertuples(), metrics.iloc[1:].itertuples()):
        same = earlier.cutoff_px == later.cutoff_px and earlier.stage == later.stage == "global"
        since = since + 1 if same else 0
        if since >= ROUND_FROM - 1:
            right = [
                errors(poses_of(run.particles(int(row.iteration))), truth).angle_deg < 10
                for row in (earlier, later)
            ]
            worst = max(worst, float((right[0] & ~right[1]).sum() / max(1, right[0].sum())))
    return worst


def main() -> int:
    """Refine the case and print its figures."""
    given = arguments(__doc__).parse_args()
    folder = folder_of(given)
    run = refine(
        folder / "run", given, particles_file=CASE / "parts.thu", pixel_size_angst=PIXEL,
        reference_file=CASE / "init.mrc", symmetry="C1", initial_resolution_angst=40,
        particle_diameter_angst=132, shift_std_px=2,
    )  # fmt: skip
    found = poses_of(run.particles())
    table = case_truth()
    truth = Truth3D(table[:, :4], -table[:, 4:6], found.ctf)
    volume, true_map = 0.5 * sum(run.halves()), read_mrc(CASE / "truth.mrc")[0]
    mask = soft_sphere(BOX, 22, 6)
    verdicts = Verdicts()
    verdicts.time(run, 120)
    verdicts.say("rounds", run.last)
    apart = errors(found, truth)
    verdicts.below("median angle (deg)", np.median(apart.angle_deg), 1.2)
    verdicts.above("share within 10 deg", apart.within_10, 0.95)
    verdicts.say("median shift (px)", float(np.median(apart.shift_px)))
    verdicts.above("FSC with the truth 0.5 at shell", shell_to_truth(volume, true_map, mask), 20)
    gauge = gauge_of(found, truth)
    verdicts.say("without the motion of the whole map", str(errors(found, truth, gauge=gauge)))
    verdicts.say("    FSC 0.5", shell_to_truth(volume, gauge.moved(true_map), mask))
    verdicts.below("turn-over of a global round (F6)", turn_over(run, truth), TURNED_AWAY)
    molecule, last = map_molecule(true_map, PIXEL), run.metrics.iloc[-1]
    band = FourierBand.between(BOX, 1, int(last.cutoff_px))
    images, few = read_mrc(CASE / "parts.mrcs")[0][:200], truth[:200]
    noise = noise_of_residuals(images, molecule, few, band, PIXEL)
    bound = cramer_rao(molecule, few, noise, band, PIXEL).median_angle_deg()
    verdicts.say(f"Cramer-Rao median at {last.cutoff_px} px (deg)", bound)
    print(run.metrics.iloc[:, :11].to_string(index=False))
    return verdicts.end(folder)


if __name__ == "__main__":
    sys.exit(main())
