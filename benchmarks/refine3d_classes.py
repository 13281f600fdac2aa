# SPDX-License-Identifier: GPL-3.0-or-later
"""Two classes (F5): half the particles lack three tenths of the molecule's mass.

    python benchmarks/refine3d_classes.py

Both classes start from the whole molecule at low resolution; at least 90 % of the particles are in
the right class after ten rounds, and no class is empty.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

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
from cryoralib_plugin.io.mrc import write_volume
from cryoralib_plugin.simulate.phantom import Phantom, density_map, make_phantom

BOX, PIXEL, DIAMETER, LACKING = 48, 5.0, 170.0, 0.3


def without_domains(phantom: Phantom, share: float) -> Phantom:
    """Return the phantom without the domains whose mass is nearest to a share of all."""
    n = phantom.domains.max() + 1
    mass = np.bincount(phantom.domains, phantom.weights)
    sets = [list(s) for size in range(1, n) for s in combinations(range(n), size)]
    lost = min(sets, key=lambda domains: abs(mass[domains].sum() - share))
    kept = ~np.isin(phantom.domains, lost)
    return replace(
        phantom,
        positions_angst=phantom.positions_angst[kept],
        weights=phantom.weights[kept],
        domains=phantom.domains[kept],
    )


def write_states(folder: Path, seed: int = 7) -> None:
    """Write whole.mrc and part.mrc on one grey scale."""
    whole = make_phantom(seed, diameter_angst=DIAMETER, n_domains=7, sigma_angst=4.5)
    for name, phantom in (("whole", whole), ("part", without_domains(whole, LACKING))):
        volume = density_map(phantom, BOX, PIXEL)
        write_volume(folder / f"{name}.mrc", 1000.0 * volume, pixel_size_angst=PIXEL)


def main() -> int:
    """Simulate, classify and print the figures."""
    parser = arguments(__doc__)
    parser.add_argument("--particles", type=int, default=1000)
    parser.add_argument("--snr", type=float, default=0.1)
    given = parser.parse_args()
    folder, verdicts = folder_of(given), Verdicts()
    write_states(folder)
    images = simulated(
        folder / "set", map_file=folder / "whole.mrc", second_map_file=folder / "part.mrc",
        n_particles=given.particles, box_size_px=BOX, pixel_size_angst=PIXEL, snr=given.snr,
        shift_max_px=2,
    )  # fmt: skip
    run = refine(
        images / "run", given, particles_file=images / "particles.star", n_classes=2,
        reference_file=folder / "whole.mrc", symmetry="C1", initial_resolution_angst=40,
        particle_diameter_angst=DIAMETER + 20, shift_std_px=2, maximum_rounds=10,
    )  # fmt: skip
    true_rows, rows = particles_of(images / "truth.star"), run.particles()
    truth, found = (r["rlnClassNumber"].to_numpy(int) for r in (true_rows, rows))
    right = max((truth == found).mean(), (truth == 3 - found).mean())
    verdicts.say("seconds, rounds", (round(run.took.seconds, 1), run.last))
    verdicts.above("share in the right class", float(right), 0.9)
    verdicts.above("share of the smaller class", float(np.bincount(found)[1:].min() / len(found)),
                   0.25)  # fmt: skip
    verdicts.say("errors", str(errors(poses_of(rows), poses_of(true_rows))))
    certain = rows["rlnMaxValueProbDistribution"].to_numpy(float)
    verdicts.say("median probability of the class taken", float(np.median(certain)))
    print(run.metrics.iloc[:, :14].to_string(index=False))
    return verdicts.end(folder)


if __name__ == "__main__":
    sys.exit(main())
