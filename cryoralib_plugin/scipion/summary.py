# SPDX-License-Identifier: GPL-3.0-or-later
"""A run in a few sentences, for Scipion's summary."""

from __future__ import annotations

import csv
import statistics
from pathlib import Path
from typing import Dict, List

from cryoralib_plugin.contract.results import ResultPaths

from .outputs import read_run


def lines(run_dir: Path) -> List[str]:
    """What the last whole iteration came to; nothing where there is none."""
    paths = ResultPaths(run_dir)
    if paths.last_iteration() is None:
        return []
    run = read_run(run_dir)
    sizes = sorted(found.n_members for found in run.classes if found.n_members > 0)
    if not sizes:
        return [f"After iteration {run.iteration} no class has members."]
    found = [
        f"Iteration {run.iteration}: {sum(sizes)} particles in {len(sizes)} of "
        f"{len(run.classes)} classes of {sizes[0]} to {sizes[-1]} members "
        f"(median {statistics.median(sizes):.0f})."
    ]
    resolutions = [known.resolution_angst for known in run.classes if known.resolution_angst > 0]
    if resolutions:
        found.append(f"Best class average: FRC 0.143 at {min(resolutions):.1f} Å.")
    metrics = last_metrics(paths.metrics_csv)
    if "pixel_error_px" in metrics and "changed_fraction" in metrics:
        found.append(
            f"Last change: {100 * metrics['changed_fraction']:.1f} % of the particles changed "
            f"class; poses moved by {metrics['pixel_error_px']:.2f} px."
        )
    quarantined = quarantine_size(paths.quarantine_csv)
    if quarantined:
        found.append(f"{quarantined} particles were set aside; {paths.quarantine_csv} says why.")
    return found


def last_metrics(path: Path) -> Dict[str, float]:
    """The numbers in the last row of metrics.csv; empty where there is no such file."""
    if not path.is_file():
        return {}
    with open(path, newline="", encoding="utf-8") as table:
        rows = list(csv.DictReader(table))
    numbers = {}
    for name, text in rows[-1].items() if rows else ():
        try:
            numbers[name] = float(text)
        except (TypeError, ValueError):
            continue  # empty: the first iteration has nothing to compare with
    return numbers


def quarantine_size(path: Path) -> int:
    """The number of particles that were set aside."""
    if not path.is_file():
        return 0
    with open(path, newline="", encoding="utf-8") as table:
        return sum(1 for _ in csv.DictReader(table))
