# SPDX-License-Identifier: GPL-3.0-or-later
"""A 3D run in a few lines for Scipion's summary: resolution and cut-off of every round."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Dict, List

import numpy as np

from cryoralib_plugin.contract.results import ResultPaths

from .outputs3d import Run3D, read_run3d
from .results3d import STAGE, read_rounds
from .summary import quarantine_size


def lines(run_dir: Path) -> List[str]:
    """What the rounds came to so far; nothing where there is none."""
    paths = ResultPaths(run_dir)
    if paths.last_iteration() is None:
        return []
    rounds = read_rounds(run_dir)
    run = read_run3d(run_dir)
    found = [_last_round(run, rounds), *_classes(run), *_by_stage(rounds)]
    quarantined = quarantine_size(paths.quarantine_csv)
    if quarantined:
        found.append(f"{quarantined} particles were set aside; {paths.quarantine_csv} says why.")
    return found


def _last_round(run: Run3D, rounds: Dict[str, np.ndarray]) -> str:
    """Resolution and certainty after the last round."""
    best = min(
        (known.resolution_angst for known in run.classes if known.resolution_angst), default=0
    )
    parts = [f"{best:.1f} Å" if best else "no resolution yet"]
    for name, text in (
        ("resolution_unmasked_angst", "{:.1f} Å without a mask"),
        ("median_angular_std_deg", "angles known to {:.1f}°"),
        ("median_shift_std_px", "shifts to {:.2f} px (medians)"),
    ):
        if name in rounds and np.isfinite(rounds[name][-1]):
            parts.append(text.format(rounds[name][-1]))
    return f"Round {run.iteration}: {', '.join(parts)}."


def _classes(run: Run3D) -> List[str]:
    """A line for each class where there are several."""
    if len(run.classes) == 1:
        return []
    return [
        f"Class {known.number}: {100 * known.share:.0f} % of the particles"
        + (f", {known.resolution_angst:.1f} Å." if known.resolution_angst else ".")
        for known in run.classes
    ]


def _by_stage(rounds: Dict[str, np.ndarray]) -> List[str]:
    """A line for each stage with the resolution and the cut-off of its rounds."""
    needed = ("iteration", STAGE, "cutoff_angst", "resolution_angst")
    if any(name not in rounds for name in needed):
        return []
    found = []
    rows = list(zip(*(rounds[name] for name in needed)))
    for stage, group in itertools.groupby(rows, key=lambda row: row[1]):
        numbers, _, cutoffs, resolutions = zip(*group)
        span = f"round {numbers[0]:.0f}"
        if len(numbers) > 1:
            span = f"rounds {numbers[0]:.0f}-{numbers[-1]:.0f}"
        found.append(
            f"{str(stage).capitalize()} search, {span}: resolution "
            f"{_series(resolutions)} Å at cut-offs {_series(cutoffs)} Å."
        )
    return found


def _series(values: tuple) -> str:
    return " ".join(f"{value:.1f}" if np.isfinite(value) else "-" for value in values)
