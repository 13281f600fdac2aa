# SPDX-License-Identifier: GPL-3.0-or-later
"""Real images through a Scipion project: STAR import, MRA, RFA of its classes, reports.

    python benchmarks/real_images.py [particles.star] [--outer-radius 24] [--classes 10]
        [--ctf phase_flip] [--output DIR] [--pictures DIR]

Without a file it takes apoferritin (EMPIAR-10146) from the data beside the repository. Prints, as
JSON, members and FRC 0.5 resolution of every class of both runs, largest first, classes alive, and
the seconds each protocol took. The bound: at K = 10 at least 8 classes alive, and 20 A or better
for the five largest; the exit code is 1 where it is missed. ``--pictures`` receives the galleries
and curves of both runs.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any, Dict

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from cryoralib_plugin.contract.preprocess import CtfCorrection
from cryoralib_plugin.contract.results import ResultPaths
from cryoralib_plugin.figures.resolution import crossing_inv_angst
from cryoralib_plugin.report.collect import read_iteration
from cryoralib_plugin.scipion.environment import scipion_environment

APOFERRITIN = REPOSITORY.parent / "shared" / "data" / "real" / "apoferritin_10146_dev.star"
CORRECTIONS = CtfCorrection.__dataclass_fields__["ctf_correction"].metadata["param"].choices
LARGEST, RESOLUTION_BOUND_ANGST, ALIVE_SHARE_BOUND = 5, 20.0, 0.8
PICTURES = ("class_averages", "frc")


def measured(run_dir: Path) -> Dict[str, Any]:
    """Members and FRC 0.5 resolution of every class of a run, and whether the bound is kept."""
    paths = ResultPaths(run_dir)
    results = read_iteration(paths, paths.last_iteration())
    classes = []
    for row in results.classes.order("size"):
        crossing = crossing_inv_angst(*results.frc.curve(int(results.classes.number[row])), 0.5)
        # A curve that starts below the threshold has no crossing; JSON has no word for NaN.
        finest = round(1.0 / crossing, 1) if crossing > 0 else None
        classes.append((int(results.classes.n_members[row]), finest))
    n_alive = int(results.classes.alive.sum())
    return {
        "members_and_frc05_angst": classes,
        "alive": n_alive,
        "of": len(classes),
        "bound_kept": n_alive >= ALIVE_SHARE_BOUND * len(classes)
        and all(finest and finest <= RESOLUTION_BOUND_ANGST for _, finest in classes[:LARGEST]),
    }


def main() -> int:
    """Run the project with the command line's words; its exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("star_file", type=Path, nargs="?", default=APOFERRITIN)
    parser.add_argument("--outer-radius", type=int, default=24, help="px")
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--ctf", choices=CORRECTIONS, default="phase_flip")
    parser.add_argument("--output", type=Path, default=Path("real_images"))
    parser.add_argument("--pictures", type=Path, help="folder for copies of the figures")
    arguments = parser.parse_args()
    star_file, output = arguments.star_file.resolve(), arguments.output.resolve()
    pictures = arguments.pictures and arguments.pictures.resolve()
    if not star_file.is_file():
        parser.error(f"{star_file} does not exist; name a RELION STAR file of particles")
    os.environ.update(scipion_environment(output / "scipion", isolated=True))

    from cryoralib_plugin.scipion.demo import launch, new_project, report

    project = new_project(output, "real_images")
    common = {
        "outerRadiusPx": arguments.outer_radius,
        "ctfCorrection": CORRECTIONS.index(arguments.ctf),
    }
    record: Dict[str, Any] = {"particles": star_file.name, "ctf": arguments.ctf, "seconds": {}}

    def timed(name: str, *words: Any, **inputs: Any) -> Any:
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
        record[name] = measured(protocol.run_dir)
        page = Path(project.getPath()) / report(protocol.run_dir)
        record.setdefault("pages", []).append(str(page))
        for figure in PICTURES if pictures else ():
            pictures.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(page.parent / f"{figure}.png", pictures / f"real_{name}_{figure}.png")
    print(json.dumps(record, indent=2))
    return 0 if record["mra"]["bound_kept"] and record["rfa"]["bound_kept"] else 1


if __name__ == "__main__":
    sys.exit(main())
