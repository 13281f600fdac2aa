# SPDX-License-Identifier: GPL-3.0-or-later
"""Defocus in the loop (F3): errors of 3 % of either sign are found again.

    python benchmarks/refine3d_defocus.py

Low noise (a quarter of the signal's deviation): 0.7 % rms. Noisy: 1.3 times the Cramer-Rao bound.
Poses start at the truth, so that nothing but the filter is measured; the cut-off is 0.7 Nyquist.
Images are taken as they are: where there is little noise, what lies outside the particle is signal
that the CTF has spread, more of it the stronger the defocus. A background normalised by that gives
every image a scale of its own, and defoci make up for it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks._cramer_rao import cramer_rao, noise_of_residuals
from benchmarks._refine3d import (
    Verdicts,
    arguments,
    errors,
    folder_of,
    particles_of,
    poses_of,
    refine,
    simulated,
)
from cryoralib_plugin.fourier.band import FourierBand
from cryoralib_plugin.io.mrc import read_mrc
from cryoralib_plugin.io.star import read_star, write_star
from cryoralib_plugin.simulate.map_molecule import map_molecule

BOX, PIXEL, ERROR = 64, 3.0, 0.03
CUTOFF_PX = 22
# Name, number of particles, SNR.
SETS = (("low_noise", 300, 16.0), ("noisy", 600, 1.0))
# Far from all factors: a limit within reach would tell something, and errors fall below the bound.
LIMIT = 0.15
AS_THEY_ARE = {"remove_ramp": False, "normalise_background": False}


def spoilt(folder: Path) -> Path:
    """Return a STAR file with true poses, and defoci 3 % too large or too small in turn."""
    blocks = read_star(folder / "truth.star")
    rows = blocks["particles"]
    factor = 1.0 + ERROR * np.where(np.arange(len(rows)) % 2, 1.0, -1.0)
    for name in ("rlnDefocusU", "rlnDefocusV"):
        rows[name] = rows[name] * factor
    write_star(folder / "spoilt.star", blocks)
    return folder / "spoilt.star"


def main() -> int:
    """Simulate, refine and print the figures."""
    given = arguments(__doc__).parse_args()
    folder, verdicts = folder_of(given), Verdicts()
    for name, n_particles, snr in SETS:
        images = simulated(
            folder / name, n_particles=n_particles, snr=snr, box_size_px=BOX,
            pixel_size_angst=PIXEL, object_diameter_angst=125, blob_sigma_angst=3, shift_max_px=3,
            bfactor_angst2=0, defocus_min_angst=8000, defocus_max_angst=20000,
        )  # fmt: skip
        run = refine(
            images / "run", given, particles_file=spoilt(images),
            reference_file=images / "phantom.mrc", reference_scale_known=True,
            initial_resolution_angst=BOX * PIXEL / CUTOFF_PX,
            highest_resolution_angst=BOX * PIXEL / CUTOFF_PX, particle_diameter_angst=140,
            shift_std_px=2, start_from_poses=True, global_search=False, local_search=False,
            defocus_search=True, defocus_std=ERROR, defocus_limit=LIMIT, maximum_rounds=3,
            **AS_THEY_ARE,
        )  # fmt: skip
        true_rows, rows = particles_of(images / "truth.star"), run.particles()
        truth, found = poses_of(true_rows), poses_of(rows)
        left = found.ctf.defocus_u_angst / truth.ctf.defocus_u_angst - 1.0
        rms = float(np.sqrt((left**2).mean()))
        band = FourierBand.between(BOX, 1, CUTOFF_PX)
        molecule = map_molecule(read_mrc(images / "phantom.mrc")[0], PIXEL)
        data = read_mrc(images / "particles.mrcs")[0]
        noise = noise_of_residuals(data, molecule, truth, band, PIXEL)
        bound = cramer_rao(molecule, truth, noise, band, PIXEL, with_defocus=True)
        verdicts.say(f"-- {name}, SNR {snr:g}", "")
        verdicts.say("rms error of the factor before", ERROR)
        if name == "low_noise":
            verdicts.below("rms error of the factor", rms, 0.007)
        verdicts.say("Cramer-Rao bound of the factor, rms", bound.defocus_rms())
        ratio = rms / bound.defocus_rms()
        if name == "noisy":
            verdicts.below("rms error over the bound", ratio, 1.3)
        else:
            verdicts.say("rms error over the bound", ratio)
        of_run = rows["cryoralibDefocusStd"].to_numpy(float)
        verdicts.say("rms error over the filter's own deviation", rms / float(np.median(of_run)))
        verdicts.say("pose errors", str(errors(found, truth)))
        verdicts.say("    Cramer-Rao median (deg)", bound.median_angle_deg())
        verdicts.say("seconds, rounds", (round(run.took.seconds, 1), run.last))
    return verdicts.end(folder)


if __name__ == "__main__":
    sys.exit(main())
