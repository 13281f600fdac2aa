# SPDX-License-Identifier: GPL-3.0-or-later
"""The particle filter alone: F1 (perfect map), F2 (calibration, junk), F6 (turn-over), S5 (noise).

    python benchmarks/refine3d_filter.py [--only F1 F2 F6 S5]

On THUNDER's case, with its true map: one global round at a cut-off of 10 px; the same set with an
eighth of pure noise; eight global rounds at that cut-off; and pure noise alone, which must not
refine to the map it is compared with.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Tuple

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks._cramer_rao import Truth3D, cramer_rao, noise_of_residuals
from benchmarks._refine3d import (
    Run,
    Verdicts,
    arguments,
    errors,
    folder_of,
    poses_of,
    refine,
)
from benchmarks.refine3d_thunder import BOX, CASE, PIXEL, case_truth, turn_over
from cryoralib_plugin.fourier.band import FourierBand
from cryoralib_plugin.fourier.fsc import last_shell_above
from cryoralib_plugin.io.mrc import read_mrc, write_stack
from cryoralib_plugin.io.star import write_star
from cryoralib_plugin.simulate.map_molecule import map_molecule

CUTOFF_PX, N_NOISE, ROUNDS = 10, 100, 8
KNOWN = {
    "symmetry": "C1", "initial_resolution_angst": BOX * PIXEL / CUTOFF_PX,
    "highest_resolution_angst": BOX * PIXEL / CUTOFF_PX,
    "global_resolution_angst": BOX * PIXEL / CUTOFF_PX, "particle_diameter_angst": 132,
    "shift_std_px": 2, "local_search": False,
}  # fmt: skip


def write_set(folder: Path, images: np.ndarray, truth: np.ndarray) -> Path:
    """Write images with the optics of the case; return their STAR file."""
    write_stack(folder / "images.mrcs", images, pixel_size_angst=PIXEL)
    n = len(images)
    optics = pd.DataFrame(
        [[1, "opticsGroup1", 300.0, 2.7, 0.1, PIXEL, BOX, 2]],
        columns=[
            "rlnOpticsGroup", "rlnOpticsGroupName", "rlnVoltage", "rlnSphericalAberration",
            "rlnAmplitudeContrast", "rlnImagePixelSize", "rlnImageSize", "rlnImageDimensionality",
        ],
    )  # fmt: skip
    rows = pd.DataFrame(
        {
            "rlnImageName": [f"{i + 1:06d}@images.mrcs" for i in range(n)],
            "rlnOpticsGroup": 1,
            "rlnDefocusU": truth[:n, 6],
            "rlnDefocusV": truth[:n, 7],
            "rlnDefocusAngle": np.degrees(truth[:n, 8]),
        }
    )
    write_star(folder / "images.star", {"optics": optics, "particles": rows})
    return folder / "images.star"


def main() -> int:
    """Run what is asked for and print the figures."""
    parser = arguments(__doc__)
    parser.add_argument("--only", nargs="+", choices=sorted(CASES), default=sorted(CASES))
    given = parser.parse_args()
    folder, verdicts = folder_of(given), Verdicts()
    for name in given.only:
        (folder / name).mkdir(exist_ok=True)
        verdicts.say(f"-- {name}", "")
        CASES[name](folder / name, given, verdicts)
    return verdicts.end(folder)


def _true_map_run(folder: Path, given: Any, star: Path, rounds: int, **settings: Any) -> Run:
    return refine(
        folder / "run", given, particles_file=star, reference_file=CASE / "truth.mrc",
        maximum_rounds=rounds, **{**KNOWN, **settings},
    )  # fmt: skip


def perfect_map(folder: Path, given: Any, verdicts: Verdicts) -> None:
    """F1: one round against the truth."""
    table, images = case_truth(), read_mrc(CASE / "parts.mrcs")[0]
    run = _true_map_run(folder, given, write_set(folder, images, table), 1)
    found = poses_of(run.particles())
    truth = Truth3D(table[:, :4], -table[:, 4:6], found.ctf)
    apart = errors(found, truth)
    verdicts.below("median angle (deg)", np.median(apart.angle_deg), 1.7)
    verdicts.below("median shift (px)", np.median(apart.shift_px), 0.3)
    verdicts.above("share within 10 deg", apart.within_10, 0.95)
    band, few = FourierBand.between(BOX, 1, CUTOFF_PX), slice(0, 200)
    molecule = map_molecule(read_mrc(CASE / "truth.mrc")[0], PIXEL)
    noise = noise_of_residuals(images[few], molecule, truth[few], band, PIXEL)
    bound = cramer_rao(molecule, truth[few], noise, band, PIXEL)
    verdicts.say("Cramer-Rao median (deg)", bound.median_angle_deg())
    verdicts.say("Cramer-Rao median (px)", bound.median_shift_px())


def calibration(folder: Path, given: Any, verdicts: Verdicts) -> None:
    """F2: errors over the deviations the filter tells; scores of pure noise."""
    table, images = case_truth(), read_mrc(CASE / "parts.mrcs")[0]
    sigma = images[:, :4].std()
    noise = np.random.default_rng(1).normal(scale=sigma, size=(N_NOISE, BOX, BOX))
    table = np.concatenate([table, table[:N_NOISE]])
    both = np.concatenate([images, noise.astype(np.float32)])
    run = _true_map_run(folder, given, write_set(folder, both, table), 1)
    rows = run.particles()
    found, n = poses_of(rows)[:800], len(images)
    apart = errors(found, Truth3D(table[:n, :4], -table[:n, 4:6], found.ctf))
    inlier = apart.angle_deg < 10
    # Errors are lengths over all axes, deviations are about one.
    std = rows["cryoralibAngularStdDeg"].to_numpy(float)[:n][inlier] * np.sqrt(3)
    _calibrated(verdicts, "angle", apart.angle_deg[inlier], std, (0.8, 1.3))
    std = rows["cryoralibShiftStdPx"].to_numpy(float)[:n][inlier] * np.sqrt(2)
    _calibrated(verdicts, "shift", apart.shift_px[inlier], std, (0.7, 1.5))
    score = rows["rlnParticleFigureOfMerit"].to_numpy(float)
    verdicts.say("median score", float(np.median(score[:n])))
    ratio = np.median(score[n:]) / np.median(score[:n])
    verdicts.below("median score of pure noise over that", ratio, 0.7)


def _calibrated(
    verdicts: Verdicts, what: str, apart: np.ndarray, std: np.ndarray, bounds: Tuple[float, float]
) -> None:
    """Print the rms error over the rms deviation, and how many particles are far too sure."""
    ratio, (low, high) = float(np.sqrt((apart**2).mean() / (std**2).mean())), bounds
    verdicts.say(f"rms {what} over the filter's", ratio, f"{low:g} to {high:g}",
                 low <= ratio <= high)  # fmt: skip
    verdicts.say("    share beyond 4 deviations", float((apart > 4 * std).mean()))


def leavers(folder: Path, given: Any, verdicts: Verdicts) -> None:
    """F6: rounds at one cut-off, from the start map of the case."""
    run = refine(
        folder / "run", given, particles_file=CASE / "parts.thu", pixel_size_angst=PIXEL,
        reference_file=CASE / "init.mrc", maximum_rounds=ROUNDS,
        **{**KNOWN, "initial_resolution_angst": 40},
    )  # fmt: skip
    table = case_truth()
    found = [poses_of(run.particles(it)) for it in run.paths.iterations()]
    truth = Truth3D(table[:, :4], -table[:, 4:6], found[0].ctf)
    verdicts.say("rounds, cut-offs", run.metrics.cutoff_px.tolist())
    shares = [errors(poses, truth).within_10 for poses in found]
    verdicts.say("share within 10 deg", " ".join(f"{share:.3f}" for share in shares))
    verdicts.below("largest share that leaves in a round", turn_over(run, truth), 0.02)
    falls = max(
        (a - b) / np.sqrt(max(a * (1 - a), 1 / 800) / 800) for a, b in zip(shares, shares[1:])
    )
    verdicts.below("largest fall of the share (standard deviations)", falls, 2.0)


def pure_noise(folder: Path, given: Any, verdicts: Verdicts) -> None:
    """S5: half maps of noise agree to the joined band and no further."""
    table = case_truth()
    noise = np.random.default_rng(2).normal(scale=1.0, size=(800, BOX, BOX)).astype(np.float32)
    joined = 2 * BOX * PIXEL / CUTOFF_PX
    # A start that is finer would be shared beyond the joined shells, and so is an outline, which
    # both halves of the noise draw together: `--set map_mask=automatic` shows how much.
    run = _true_map_run(
        folder, given, write_set(folder, noise, table), 3, local_search=True,
        join_halves_angst=joined, initial_resolution_angst=joined, highest_resolution_angst=0,
        global_resolution_angst=15, map_mask="sphere",
    )  # fmt: skip
    curve = pd.read_csv(run.paths.fsc_csv(run.last))["fsc_corrected"].to_numpy()
    first = int(BOX * PIXEL / joined) + 1
    verdicts.say("joined to shell", first - 1)
    verdicts.say("last shell of 0.143", last_shell_above(curve, 0.143))
    verdicts.below("mean corrected FSC of the eight shells beyond + 1",
                   float(np.nanmean(curve[first + 1 : first + 9])), 0.143)  # fmt: skip


CASES = {"F1": perfect_map, "F2": calibration, "F6": leavers, "S5": pure_noise}


if __name__ == "__main__":
    sys.exit(main())
