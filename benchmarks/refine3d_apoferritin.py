# SPDX-License-Identifier: GPL-3.0-or-later
"""Real images: apoferritin (EMPIAR-10146), 1,966 particles of 72 px at 3 A, octahedral.

    python benchmarks/refine3d_apoferritin.py [--ab-initio] [--pictures DIR]

Plain projection matching reached 7.9 A in the same mask; Nyquist is 6 A.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks._refine3d import (
    DATA,
    Verdicts,
    arguments,
    folder_of,
    refine,
    shell_mask,
    shell_to_truth,
)
from cryoralib_plugin.fourier.fsc import last_shell_above, masked_fsc
from cryoralib_plugin.fourier.maps import resample_volume
from cryoralib_plugin.io.mrc import read_mrc

PARTICLES = DATA / "real" / "apoferritin_10146_dev.star"
MODEL = DATA / "maps" / "apoferritin_CAmodel_O_3.0A_72.mrc"
PIXEL, INNER, OUTER, EDGE = 3.0, 30.0, 70.0, 9.0


def main() -> int:
    """Refine and print the figures."""
    parser = arguments(__doc__)
    parser.add_argument("--ab-initio", action="store_true")
    given = parser.parse_args()
    folder = folder_of(given)
    start = {} if given.ab_initio else {"reference_file": MODEL}
    run = refine(
        folder / "run", given, particles_file=PARTICLES, symmetry="O",
        initial_resolution_angst=20, global_resolution_angst=15, particle_diameter_angst=150,
        shift_std_px=3, maximum_rounds=10, **start,
    )  # fmt: skip
    first, second = run.halves()
    mask = shell_mask(len(first), PIXEL, INNER, OUTER, EDGE)
    rng = np.random.default_rng(1)
    curves = masked_fsc(first, second, mask, tuple(rng.normal(size=(2, *first.shape))))
    verdicts = Verdicts()
    verdicts.time(run, 600)
    verdicts.say("rounds", run.last)
    box = len(first)
    for name, curve in (("masked", curves.masked), ("phase-randomised", curves.corrected)):
        shell = last_shell_above(curve, 0.143)
        verdicts.above(f"FSC 0.143, {name}, shell", shell, 29)
        verdicts.say("    Angstrom", box * PIXEL / max(1, shell))
    shell = last_shell_above(curves.unmasked, 0.143)
    verdicts.say("FSC 0.143 without a mask, shell", shell)
    model = resample_volume(read_mrc(MODEL)[0], box)
    verdicts.say("FSC 0.5 with the CA model, shell", shell_to_truth(first + second, model, mask))
    print(run.metrics.iloc[:, :11].to_string(index=False))
    return verdicts.end(folder)


if __name__ == "__main__":
    sys.exit(main())
