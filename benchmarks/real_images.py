# SPDX-License-Identifier: GPL-3.0-or-later
"""Real images through a Scipion project: STAR import, MRA, RFA of its classes, reports.

    python benchmarks/real_images.py particles.star --outer-radius 24 [--classes 10] [--output DIR]

Prints, as JSON, members and resolution (FRC 0.5) of every class of both runs, largest first, and
the seconds each protocol took. The bound: at K = 10 at least 8 classes alive, and 20 A or better
for the five largest.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from cryoralib_plugin.scipion.environment import scipion_environment


def resolution_at_half(frc_csv: Path) -> dict[int, float]:
    """Where the FRC of each class first falls below 0.5, in angst; between rings linear."""
    found: dict[int, float] = {}
    last: dict[int, tuple[float, float]] = {}
    with open(frc_csv, newline="", encoding="utf-8") as table:
        for row in csv.DictReader(table):
            number, ring = int(row["class"]), int(row["ring"])
            if ring == 0 or number in found:
                continue
            frequency, value = 1.0 / float(row["resolution_angst"]), float(row["frc"] or 0.0)
            if value < 0.5 and number not in last:
                found[number] = float("inf")
            elif value < 0.5:
                before, above = last[number]
                share = (above - 0.5) / (above - value)
                found[number] = round(1.0 / (before + share * (frequency - before)), 1)
            last[number] = (frequency, value)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("star_file", type=Path)
    parser.add_argument("--outer-radius", type=int, default=0)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--ctf", type=int, default=2, help="0 none, 1 phase_flip, 2 wiener")
    parser.add_argument("--output", type=Path, default=Path("real_images"))
    arguments = parser.parse_args()
    star_file = arguments.star_file.resolve()
    os.environ.update(scipion_environment(arguments.output.resolve() / "scipion", isolated=True))

    from cryoralib_plugin.contract.results import ResultPaths
    from cryoralib_plugin.scipion.demo import launch, new_project, report
    from cryoralib_plugin.scipion.outputs import read_run

    project = new_project(arguments.output, "real_images")
    common = {"outerRadiusPx": arguments.outer_radius, "ctfCorrection": arguments.ctf}
    record = {"particles": star_file.name, "seconds": {}, "classes": {}}

    def timed(name, *words, **inputs):
        start = time.perf_counter()
        protocol = launch(project, *words, **inputs)
        record["seconds"][name] = round(time.perf_counter() - start, 1)
        return protocol

    imported = timed("import", "CryoRalibProtImportStar", {"starFile": str(star_file)})
    classified = timed(
        "mra",
        "CryoRalibProtMultirefAlign2D",
        {"nClasses": arguments.classes, **common},
        inputParticles=(imported, "outputParticles"),
    )
    aligned = timed(
        "rfa",
        "CryoRalibProtRefFreeAlign2D",
        {"shiftRangePx": "2 1", **common},
        inputParticles=(classified, "outputClasses"),
    )
    for name, protocol in (("mra", classified), ("rfa", aligned)):
        paths = ResultPaths(protocol.run_dir)
        halves = resolution_at_half(paths.frc_csv(paths.last_iteration()))
        found = sorted(read_run(protocol.run_dir).classes, key=lambda known: -known.n_members)
        record["classes"][name] = [
            f"{known.n_members} particles, {halves.get(known.number)} A" for known in found
        ]
        page = Path(project.getPath()) / report(protocol.run_dir)
        record.setdefault("pages", []).append(str(page))
    print(json.dumps(record, indent=2))


if __name__ == "__main__":
    main()
