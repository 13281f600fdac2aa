# SPDX-License-Identifier: GPL-3.0-or-later
"""Results of a run as Scipion sets: classes, averages and particles with their poses."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, Sequence, Tuple

import numpy as np
from pwem.constants import ALIGN_2D
from pwem.objects import Particle, Transform
from pyworkflow.object import Float, Integer

from cryoralib_plugin.contract import labels
from cryoralib_plugin.contract.results import ResultPaths

from . import fill_sets
from .alignment import matrices_2d, matrix_texts
from .fill_sets import CLASS_ID
from .set_reader import MATRIX
from .star import read_columns

SCORE = f"_{labels.FIGURE_OF_MERIT}"
RESOLUTION = "_rlnEstimatedResolution"
SHARE = "_rlnClassDistribution"

_READ = (
    labels.IMAGE_ID,
    labels.CLASS_NUMBER,
    labels.ANGLE_PSI,
    labels.ORIGIN_X_ANGST,
    labels.ORIGIN_Y_ANGST,
    labels.IS_FLIP,
    labels.FIGURE_OF_MERIT,
)


@dataclass(frozen=True)
class Assignments:
    """Class, pose and score of particles, sorted by Scipion's object id.

    `ids`, `class_number` (n,) int64; `matrices` (n, 4, 4) float64, shifts in px of the particles
    in Scipion; `score` (n,) float64. Particles without a class are not among them.
    """

    ids: np.ndarray
    class_number: np.ndarray
    matrices: np.ndarray
    score: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)

    def columns(self) -> Dict[str, Sequence[Any]]:
        """The values as they are stored."""
        return {
            MATRIX: matrix_texts(self.matrices),
            CLASS_ID: self.class_number.tolist(),
            SCORE: self.score.tolist(),
        }

    def update(self, item: Particle, row: int) -> None:
        """Give a particle its class, pose and score."""
        item.setClassId(int(self.class_number[row]))
        item.setTransform(Transform(matrix=self.matrices[row]))
        setattr(item, SCORE, Float(float(self.score[row])))


@dataclass(frozen=True)
class ClassOfRun:
    """What a run says of one class."""

    number: int
    n_members: int
    resolution_angst: float
    mean_score: float


@dataclass(frozen=True)
class RunOutput:
    """The last iteration of a run, as outputs are made from it."""

    iteration: int
    stack: str
    pixel_size_angst: float
    classes: Tuple[ClassOfRun, ...]

    def of_class(self, number: int) -> ClassOfRun:
        for found in self.classes:
            if found.number == number:
                return found
        raise KeyError(f"the run's model file does not list class {number}")


def read_run(run_dir: Path) -> RunOutput:
    """The classes of the last whole iteration; ValueError where there is none."""
    paths = ResultPaths(run_dir)
    iteration = paths.last_iteration()
    if iteration is None:
        raise ValueError(f"the run in {run_dir} has no whole iteration; see {paths.log}")
    model = json.loads(paths.model_json(iteration).read_text(encoding="utf-8"))
    classes = tuple(
        ClassOfRun(
            int(found["class"]),
            int(found["n_members"]),
            float(found.get("resolution_angst") or 0.0),
            float(found.get("mean_score") or 0.0),
        )
        for found in model["classes"]
    )
    return RunOutput(
        iteration,
        str(paths.classes_mrcs(iteration)),
        float(model["pixel_size_angst"]),
        classes,
    )


def read_assignments(star_file: Path, pixel_size_angst: float) -> Assignments:
    """The assignments in a result STAR file; origins become px of the given pixel size."""
    columns = read_columns(star_file, "particles", _READ)
    missing = [name for name in _READ if name not in columns and name != labels.FIGURE_OF_MERIT]
    if missing:
        raise ValueError(f"{star_file} lacks the columns {', '.join(missing)}")
    order = np.argsort(columns[labels.IMAGE_ID], kind="stable")
    order = order[columns[labels.CLASS_NUMBER][order] > 0]
    found = {name: values[order] for name, values in columns.items()}
    origin = np.stack([found[labels.ORIGIN_X_ANGST], found[labels.ORIGIN_Y_ANGST]], axis=1)
    matrices = matrices_2d(
        found[labels.ANGLE_PSI], origin / pixel_size_angst, found[labels.IS_FLIP] > 0
    )
    score = found.get(labels.FIGURE_OF_MERIT, np.zeros(len(order)))
    return Assignments(found[labels.IMAGE_ID], found[labels.CLASS_NUMBER], matrices, score)


def fill_classes(classes: Any, assignments: Assignments, run: RunOutput) -> None:
    """Fill an empty SetOfClasses2D of the input particles with one class per class of the run."""
    fill_sets.fill_classes(classes, assignments, lambda item: _describe(item, run))


def fill_particles(output: Any, particles: Any, assignments: Assignments) -> None:
    """Fill an empty SetOfParticles with the input's particles and their poses."""
    fill_sets.fill_particles(output, particles, assignments, ALIGN_2D)


def fill_averages(averages: Any, run: RunOutput) -> None:
    """Fill an empty SetOfAverages with the averages of the classes that have members."""
    averages.setSamplingRate(run.pixel_size_angst)
    for average in _alive(run):
        averages.append(_representative(run, average))


def _describe(item: Any, run: RunOutput) -> None:
    """Give a class its average, its resolution and its share of the particles."""
    found = run.of_class(item.getObjId())
    item.setAlignment2D()
    item.setRepresentative(_representative(run, found))
    total = sum(other.n_members for other in run.classes) or 1
    setattr(item, SHARE, Float(found.n_members / total))
    setattr(item, RESOLUTION, Float(found.resolution_angst))
    setattr(item, SCORE, Float(found.mean_score))


def _representative(run: RunOutput, found: ClassOfRun) -> Particle:
    """The average of one class."""
    average = Particle()
    average.setObjId(found.number)
    average.setLocation(found.number, run.stack)
    average.setSamplingRate(run.pixel_size_angst)
    average.setClassId(found.number)
    setattr(average, RESOLUTION, Float(found.resolution_angst))
    average._classSize = Integer(found.n_members)
    return average


def _alive(run: RunOutput) -> Iterator[ClassOfRun]:
    return (found for found in run.classes if found.n_members > 0)
