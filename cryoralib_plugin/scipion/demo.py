# SPDX-License-Identifier: GPL-3.0-or-later
"""A real Scipion project from nothing: particles to averages and to a map; pictures at the end.

Nothing is downloaded. The project opens in Scipion like any other one.
"""

from __future__ import annotations

import argparse
import logging
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Dict, List

from cryoralib_plugin.contract.results import ResultPaths

logger = logging.getLogger(__name__)

PROJECT = "cryoralib_demo"

SIMULATED: Dict[str, Any] = {
    "nParticles": 1200,
    "boxSizePx": 72,
    "pixelSizeAngst": 3.0,
    "objectDiameterAngst": 150.0,
    "viewChoice": 2,  # discrete views
    "nViews": 8,
    "snr": 0.1,
}
MULTIREFERENCE: Dict[str, Any] = {
    "nClasses": 12, "nIterations": 12, "outerRadiusPx": 27, "ctfCorrection": 2,
}  # fmt: skip
REFERENCE_FREE: Dict[str, Any] = {
    "nIterations": 3, "shiftRangePx": "2 1", "outerRadiusPx": 27, "ctfCorrection": 2,
}  # fmt: skip
SIMULATED_VIEWS: Dict[str, Any] = {
    "nParticles": 400,
    "boxSizePx": 56,
    "pixelSizeAngst": 4.0,
    "objectDiameterAngst": 150.0,
    "snr": 0.1,
}
# The demo is to last minutes: more rounds make these few poses surer, but the map hardly finer.
REFINEMENT: Dict[str, Any] = {
    "initialResolutionAngst": 40.0,
    "globalResolutionAngst": 20.0,
    "maximumRounds": 8,
    "particleDiameterAngst": 170.0,
    "shiftStdPx": 3.0,
}


class DemoError(RuntimeError):
    """A protocol of the demo failed; the text says which and why."""


def main(words: List[str], *, notice: str = "") -> int:
    """Run the demo with the command line's words; its exit code. A notice is shown before."""
    parser = argparse.ArgumentParser(
        prog="python -m cryoralib_plugin demo", description=__doc__.split("\n")[0]
    )
    parser.add_argument(
        "--output", type=Path, default=Path("demo_output"), help="folder of the project"
    )
    parser.add_argument("--ranks", type=int, default=1, help="MPI processes of the alignments")
    arguments = parser.parse_args(words)
    if notice:
        logger.info(notice)
    output = arguments.output.resolve()  # the project becomes the working directory
    pictures = run_demo(output, n_ranks=arguments.ranks)
    logger.info("The pictures and a page that explains them:")
    for page in pictures:
        logger.info("    %s", page)
    logger.info(
        "Open the project in Scipion: %s -m cryoralib_plugin scipion project %s",
        sys.executable,
        pictures[0].resolve().relative_to(output).parts[0],
    )
    return 0


def run_demo(
    output: Path,
    *,
    n_ranks: int = 1,
    simulated: Dict[str, Any] = SIMULATED,
    multireference: Dict[str, Any] = MULTIREFERENCE,
    reference_free: Dict[str, Any] = REFERENCE_FREE,
    simulated_views: Dict[str, Any] = SIMULATED_VIEWS,
    refinement: Dict[str, Any] = REFINEMENT,
) -> List[Path]:
    """Run all protocols in a new project below `output`; the report page of each program's run."""
    project = new_project(output)
    began = time.monotonic()
    simulation = launch(project, "CryoRalibProtSimulateParticles", simulated)
    imported = launch(
        project,
        "CryoRalibProtImportStar",
        {"starFile": str(simulation.result("particles.star"))},
    )
    classified = launch(
        project,
        "CryoRalibProtMultirefAlign2D",
        {**multireference, "numberOfMpi": n_ranks},
        inputParticles=(imported, "outputParticles"),
    )
    aligned = launch(
        project,
        "CryoRalibProtRefFreeAlign2D",
        {**reference_free, "numberOfMpi": n_ranks},
        inputParticles=(classified, "outputClasses"),
    )
    views = launch(project, "CryoRalibProtSimulateParticles", simulated_views)
    refined = launch(
        project,
        "CryoRalibProtRefine3D",
        {**refinement, "numberOfMpi": n_ranks},
        inputParticles=(views, "outputParticles"),
        referenceVolume=(views, "outputVolume"),
    )
    pages = [report(Path(run.getPath("extra", "run"))) for run in (classified, aligned, refined)]
    logger.info("the project took %.0f s", time.monotonic() - began)
    here = Path(project.getPath())
    for words, path in (
        ("map", refined.outputVolume.getFileName()),
        ("Fourier shell correlation", pages[-1].with_name("fsc.png")),
        ("orientations on the sphere", pages[-1].with_name("orientations.png")),
    ):
        logger.info("%s: %s", words, here / path)
    return [here / page for page in pages]


def new_project(output: Path, wanted: str = PROJECT) -> Any:
    """A new project in the output folder, which becomes the present one.

    pyworkflow is imported here: its variables must be set before.
    """
    import pyworkflow as pw
    from pyworkflow.project import Manager

    pw.Config.setDomain("pwem")
    domain = pw.Config.getDomain()
    if "cryoralib_plugin" not in domain.getPlugins():
        raise DemoError(
            "Scipion does not see cryoralib: install it into this Python with "
            f"{sys.executable} -m pip install -e ."
        )
    output = output.resolve()
    output.mkdir(parents=True, exist_ok=True)
    manager = Manager()
    # Scipion lists projects elsewhere by links in this folder, which it does not make for them.
    os.makedirs(manager.PROJECTS, exist_ok=True)
    name, number = wanted, 1
    while (output / name).exists() or os.path.lexists(manager.getProjectPath(name)):
        number += 1
        name = f"{wanted}_{number}"
    project = manager.createProject(name, location=str(output))
    os.chdir(project.getPath())
    logger.info("Scipion project %s in %s", name, output)
    return project


def launch(project: Any, name: str, values: Dict[str, Any], **inputs: Any) -> Any:
    """Run one protocol to its end; inputs are (protocol, name of its output)."""
    import pyworkflow as pw

    protocol = project.newProtocol(pw.Config.getDomain().getProtocols()[name], **values)
    for parameter, (parent, output) in inputs.items():
        pointer = getattr(protocol, parameter)
        pointer.set(parent)
        pointer.setExtended(output)
    label = protocol.getClassLabel()
    logger.info("%s ...", label)
    began = time.monotonic()
    project.launchProtocol(protocol, wait=True)
    protocol = project.getProtocol(protocol.getObjId())
    if not protocol.isFinished():
        raise DemoError(
            f"{label} failed: {protocol.getErrorMessage() or 'it could not be started'}; see "
            f"{os.path.abspath(protocol.getStderrLog())}"
        )
    logger.info("%s took %.0f s. %s", label, time.monotonic() - began, " ".join(_told(protocol)))
    return protocol


def _told(protocol: Any) -> List[str]:
    """The protocol's summary, line by line."""
    return [line for line in protocol.summary() if line.strip()]


def report(run_dir: Path) -> Path:
    """Draw the pictures of a run; its page."""
    subprocess.run(
        [sys.executable, "-m", "cryoralib_plugin", "report", str(run_dir)],
        check=True,
        capture_output=True,
    )
    return ResultPaths(run_dir).report_html
