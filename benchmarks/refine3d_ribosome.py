# SPDX-License-Identifier: GPL-3.0-or-later
"""A simulated 70S ribosome: 2,000 particles of 64 px at 6 A, SNR 0.05, started at 50 A.

    python benchmarks/refine3d_ribosome.py              the clean set
    python benchmarks/refine3d_ribosome.py --junk       and the set with a fifth of junk

Particles come from splines of a finer spectrum than the refinement's; CTF with astigmatism, shifts
within 3 px. Half of the junk is empty, half of it a wrong molecule with as much signal.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Optional

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks._cramer_rao import cramer_rao, noise_of_residuals
from benchmarks._refine3d import (
    DATA,
    Run,
    Verdicts,
    arguments,
    errors,
    folder_of,
    gauge_of,
    particles_of,
    poses_of,
    reconstructed,
    refine,
    shell_to_truth,
    simulated,
    with_true_map,
)
from benchmarks.refine3d_thunder import TURNED_AWAY, turn_over
from cryoralib_plugin.fourier.band import FourierBand
from cryoralib_plugin.fourier.masks3d import soft_sphere
from cryoralib_plugin.io.mrc import read_mrc
from cryoralib_plugin.simulate.map_molecule import map_molecule

RIBOSOME = DATA / "maps" / "ribosome70S_state0_C1_3.0A_128.mrc"
WRONG = DATA / "maps" / "betaGal_experimental_D2_3.54A_100.mrc"
PIXEL, BOX = 6.0, 64
SET = {
    "map_file": RIBOSOME, "box_size_px": BOX, "pixel_size_angst": PIXEL, "snr": 0.05,
    "shift_max_px": 3, "astigmatism_max_angst": 1000,
}  # fmt: skip
KNOWN = {"symmetry": "C1", "particle_diameter_angst": 320, "shift_std_px": 2}
RECALL_PRECISION = 0.9


def main() -> int:
    """Simulate, refine and print the figures."""
    parser = arguments(__doc__)
    parser.add_argument("--junk", action="store_true")
    parser.add_argument("--particles", type=int, default=2000)
    given = parser.parse_args()
    folder, verdicts = folder_of(given), Verdicts()
    settings = {**SET, "n_particles": given.particles}
    clean = measured(simulated(folder / "clean", **settings), given, verdicts)
    if given.junk:
        dirty = simulated(folder / "junk", **settings, wrong_map_file=WRONG, junk_fraction=0.2)
        measured(dirty, given, verdicts, clean_shell=clean)
    return verdicts.end(folder)


def measured(folder: Path, given, verdicts: Verdicts, clean_shell: Optional[int] = None) -> int:
    """Refine a set, print its figures and return its shell of FSC 0.5 with the truth."""
    verdicts.say(f"-- {folder.name}", "")
    run = refine(
        folder / "run", given, particles_file=folder / "particles.star",
        reference_file=RIBOSOME, initial_resolution_angst=50, **KNOWN,
    )  # fmt: skip
    rows, true_rows = run.particles(), particles_of(folder / "truth.star")
    kinds = true_rows.loc[rows.index, "cryoralibImageKind"].to_numpy()
    real = kinds == "particle"
    truth, found = poses_of(true_rows.loc[rows.index][real]), poses_of(rows[real])
    images = read_mrc(folder / "particles.mrcs")[0][rows.index[real]]
    true_map = read_mrc(folder / "phantom.mrc")[0]
    mask = soft_sphere(BOX, 26, 5)
    gauge = gauge_of(found, truth)
    best = shell_to_truth(reconstructed(images, truth, PIXEL, 30), true_map, mask)
    shell = shell_to_truth(0.5 * sum(run.halves()), gauge.moved(true_map), mask)
    # The time of the clean set is bounded; junk keeps moving, and the global stage goes on longer.
    verdicts.time(run, 300 if clean_shell is None else np.inf)
    verdicts.say("rounds, last cut-off (px)", (run.last, int(run.metrics.cutoff_px.iloc[-1])))
    verdicts.say("FSC 0.5 with the truth, true poses, shell", best)
    verdicts.above("FSC 0.5 with the truth, shell", shell, best - 1)
    if clean_shell is not None:
        verdicts.above("    and against the clean set", shell, clean_shell - 1)
        _score_junk(rows, kinds, verdicts)
    else:
        verdicts.below("turn-over of a global round (F6)", turn_over(run, truth), TURNED_AWAY)
    free = errors(found, truth, gauge=gauge)
    verdicts.say("errors", str(errors(found, truth)))
    verdicts.say("errors without the motion of the whole map", str(free))
    cutoff = int(run.metrics.cutoff_px.iloc[-1])
    best_run = with_true_map(
        folder / "with_true_map", given, folder / "truth.star", folder / "phantom.mrc",
        initial_resolution_angst=BOX * PIXEL / cutoff, **KNOWN,
    )  # fmt: skip
    least = errors(poses_of(best_run.particles().loc[rows.index][real]), truth)
    verdicts.say("errors from the true poses with the true map", str(least))
    ratio = np.median(free.angle_deg) / np.median(least.angle_deg)
    verdicts.say("    median angle over theirs", float(ratio))
    searched = errors(poses_of(_searched(folder, given, cutoff).particles().loc[rows.index][real]),
                      truth)  # fmt: skip
    verdicts.say("errors of a global search given the true map", str(searched))
    ratio = np.median(free.angle_deg) / np.median(searched.angle_deg)
    verdicts.below("    median angle over theirs", ratio, 1.25)
    band = FourierBand.between(BOX, 1, cutoff)
    molecule, few = map_molecule(true_map, PIXEL), slice(0, 300)
    noise = noise_of_residuals(images[few], molecule, truth[few], band, PIXEL)
    bound = cramer_rao(molecule, truth[few], noise, band, PIXEL).median_angle_deg()
    verdicts.say("Cramer-Rao median (deg)", bound)
    print(run.metrics.iloc[:, :11].to_string(index=False))
    return shell


def _searched(folder: Path, given, cutoff: int) -> Run:
    """Search all poses for once with the true map: at this noise some cannot be found."""
    angst = BOX * PIXEL / cutoff
    return refine(
        folder / "searched_with_true_map", given, particles_file=folder / "particles.star",
        reference_file=folder / "phantom.mrc", initial_resolution_angst=angst,
        highest_resolution_angst=angst, global_resolution_angst=angst, maximum_rounds=1, **KNOWN,
    )  # fmt: skip


def _score_junk(rows, kinds: np.ndarray, verdicts: Verdicts) -> None:
    """Print how well the score tells junk from particles."""
    score = rows["rlnParticleFigureOfMerit"].to_numpy(float)
    for kind in np.unique(kinds):
        low, middle, high = np.quantile(score[kinds == kind], (0.1, 0.5, 0.9))
        verdicts.say(f"score of {kind}: 10 %, median, 90 %", f"{low:.2f} {middle:.2f} {high:.2f}")
    for kind in ("empty", "wrong molecule"):
        recall = recall_at(score, kinds == kind, kinds == "particle", RECALL_PRECISION)
        what = f"recall of {kind} at precision {RECALL_PRECISION}"
        if kind == "empty":
            verdicts.above(what, recall, 0.9)
        else:
            verdicts.say(what, recall)


def recall_at(score: np.ndarray, junk: np.ndarray, good: np.ndarray, precision: float) -> float:
    """Return the largest share of junk below a threshold below which ``precision`` is junk."""
    order = np.argsort(score[junk | good])
    is_junk = junk[junk | good][order]
    caught = np.cumsum(is_junk)
    pure = caught >= precision * np.arange(1, len(caught) + 1)
    return float(caught[pure].max(initial=0) / max(1, junk.sum()))


if __name__ == "__main__":
    sys.exit(main())
