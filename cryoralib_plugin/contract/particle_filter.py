# SPDX-License-Identifier: GPL-3.0-or-later
"""How the particle filter samples the poses of every particle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cryoralib_plugin.contract._param import param


@dataclass(frozen=True)
class ParticleFilter:
    """Support points of a particle's pose: how many, how far they move, when they rest."""

    title: ClassVar[str] = "Particle filter"

    n_scan_rotations: int = param(
        0,
        label="Rotations in a scan",
        help="Rotations that every particle is compared with in a global round, within the "
        "asymmetric unit. 0: as many as the cut-off and the diameter of the particle ask for, so "
        "that no peak of the score is stepped over.",
        minimum=0,
        maximum=10000000,
        expert=True,
        when="global_search",
    )
    shift_std_px: float = param(
        4.0,
        label="Expected shift",
        help="Standard deviation of the shifts expected, on each axis: the prior of all shifts. A "
        "scan covers 2.4 times this. 0: particles are centred and not shifted.",
        unit="px",
        minimum=0.0,
        maximum=512.0,
    )
    shift_density: float = param(
        10.0,
        label="Density of shifts",
        help="Shifts in a scan for each square of the resolution it is made at; at least 30 shifts "
        "are taken. Particles with several poses are searched as finely in every round.",
        minimum=0.1,
        maximum=1000.0,
        expert=True,
    )
    keep_pose_margin: float = param(
        2.0,
        label="Margin of a new pose",
        help="A new pose far from the old one replaces it only if its log-likelihood is higher by "
        "this much; otherwise noise would exchange equally good poses in every round.",
        minimum=0.0,
        maximum=100.0,
        expert=True,
        when="global_search",
    )
    n_local_rotations: int = param(
        125,
        label="Rotations per particle",
        help="Support points in rotation that each particle keeps.",
        minimum=8,
        maximum=10000,
        expert=True,
    )
    n_local_shifts: int = param(
        25,
        label="Shifts per particle",
        help="Support points in shift that each particle keeps. THUNDER keeps 9, which makes "
        "shifts look twice as certain as they are.",
        minimum=5,
        maximum=1000,
        expert=True,
    )
    n_local_defoci: int = param(
        9,
        label="Defoci per particle",
        help="Support points in defocus that each particle keeps.",
        minimum=3,
        maximum=1000,
        expert=True,
        when="defocus_search",
    )
    first_perturbation: float = param(
        2.0,
        label="First spread",
        help="How widely support points are drawn in the first phase of a round, in units of the "
        "spread that the particle came with.",
        minimum=1.0,
        maximum=20.0,
        expert=True,
    )
    perturbation: float = param(
        1.5,
        label="Spread",
        help="How widely support points are drawn in every other phase, in units of the spread "
        "they had so far. Weights undo what is drawn too widely.",
        minimum=1.0,
        maximum=20.0,
        expert=True,
    )
    lowest_phases: int = param(
        2,
        label="Phases at least",
        help="Phases of drawing and weighing support points in a local or defocus round, at least, "
        "for particles with one pose. In a global round a particle goes on only where too few of "
        "its points count.",
        minimum=1,
        maximum=99,
        expert=True,
    )
    highest_phases: int = param(
        20,
        label="Phases at most",
        help="A particle whose spread still shrinks after so many phases is left as it is. In a "
        "global round a few must do: the next one goes on.",
        minimum=1,
        maximum=99,
        expert=True,
    )
    resting_factor: float = param(
        0.95,
        label="Resting factor",
        help="A particle rests when no spread has fallen below this share of its smallest so far.",
        minimum=0.1,
        maximum=1.0,
        expert=True,
    )
    defocus_std: float = param(
        0.01,
        label="Defocus spread",
        help="Standard deviation of the defocus factors a defocus search starts with: 0.01 is 1 % "
        "of the defocus of the particle.",
        minimum=0.0,
        maximum=0.2,
        expert=True,
        when="defocus_search",
    )
    defocus_limit: float = param(
        0.05,
        label="Defocus limit",
        help="Largest change of the defocus, as a share of it; what lies beyond is drawn again.",
        minimum=0.0,
        maximum=0.5,
        expert=True,
        when="defocus_search",
    )
    grading: bool = param(
        True,
        label="Weigh particles",
        help="Particles whose pose is uncertain count less in the map. Weights have the mean 1 in "
        "each half and are kept between 0.1 and 3; they are written for every particle.",
    )

    @property
    def n_shifts_each(self) -> int:
        """Support points in shift of each particle: one where particles are not shifted."""
        return self.n_local_shifts if self.shift_std_px > 0.0 else 1
