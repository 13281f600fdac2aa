# SPDX-License-Identifier: GPL-3.0-or-later
"""Symmetric molecules: GroEL (D7) and apoferritin (O), simulated and refined in their symmetry.

python benchmarks/refine3d_phantoms.py [--only D7] [--snr 0.1]
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks._refine3d import (
    DATA,
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
)
from cryoralib_plugin.fourier.masks3d import soft_sphere
from cryoralib_plugin.io.mrc import read_mrc

MOLECULES = {
    "D7": ("groel_EMD-1997_D7_2.02A_100.mrc", 56, 3.6, 170, 40, 0.1, 400),
    "O": ("apoferritin_CAmodel_O_3.0A_72.mrc", 54, 4.0, 150, 25, 0.3, 300),
}
"""Map, box (px), pixel (A), diameter (A), start (A), SNR, particles."""


def main() -> int:
    """Simulate, refine and print the figures."""
    parser = arguments(__doc__)
    parser.add_argument("--only", choices=sorted(MOLECULES))
    parser.add_argument("--snr", type=float, help="of the images; each molecule's own by default")
    given = parser.parse_args()
    folder, verdicts = folder_of(given), Verdicts()
    for name in [given.only] if given.only else sorted(MOLECULES):
        file, box, pixel, diameter, start, snr, n = MOLECULES[name]
        images = simulated(
            folder / name, map_file=DATA / "maps" / file, n_particles=n, box_size_px=box,
            pixel_size_angst=pixel, snr=given.snr or snr, shift_max_px=2,
        )  # fmt: skip
        run = refine(
            images / "run", given, particles_file=images / "particles.star",
            reference_file=DATA / "maps" / file, symmetry=name, initial_resolution_angst=start,
            particle_diameter_angst=diameter, shift_std_px=2,
        )  # fmt: skip
        truth, found = poses_of(particles_of(images / "truth.star")), poses_of(run.particles())
        true_map, data = (read_mrc(images / f)[0] for f in ("phantom.mrc", "particles.mrcs"))
        mask = soft_sphere(box, diameter / pixel / 2, 4)
        best = shell_to_truth(reconstructed(data, truth, pixel, box // 2 - 1, name), true_map, mask)
        verdicts.say(f"-- {file}", name)
        verdicts.say("seconds, rounds", (round(run.took.seconds, 1), run.last))
        verdicts.say("errors", str(errors(found, truth, name)))
        gauge = gauge_of(found, truth, name)
        free = errors(found, truth, name, gauge)
        verdicts.say("errors without the motion of the whole map", str(free))
        verdicts.above("share within 10 deg", free.within_10, 0.95)
        verdicts.say("FSC 0.5 with the truth, true poses, shell", best)
        volume = 0.5 * sum(run.halves())
        shell = shell_to_truth(volume, gauge.moved(true_map), mask)
        verdicts.above("FSC 0.5 with the truth, shell", shell, best - 1)
        verdicts.say("    Angstrom", box * pixel / max(1, shell))
        print(run.metrics.iloc[:, :11].to_string(index=False))
    return verdicts.end(folder)


if __name__ == "__main__":
    sys.exit(main())
