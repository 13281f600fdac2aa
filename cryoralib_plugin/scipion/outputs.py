# SPDX-License-Identifier: GPL-3.0-or-later
"""Results of a run as Scipion sets: classes, averages and particles with their poses."""

from __future__ import annotations

import json
import logging
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, List, Sequence, Tuple

import numpy as np
from pwem.constants import ALIGN_2D
from pwem.objects import Particle, Transform
from pyworkflow.object import Float, Integer

from cryoralib_plugin.contract import labels
from cryoralib_plugin.contract.results import ResultPaths

from .alignment import matrices_2d, matrix_texts
from .set_reader import DatabaseReader, open_reader
from .set_writer import BulkWriteError, NewValues, bulk_writer, check_item
from .star import read_columns

logger = logging.getLogger(__name__)

MATRIX, CLASS_ID, SCORE = "_transform._matrix", "_classId", f"_{labels.FIGURE_OF_MERIT}"
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
    try:
        _fill_classes_bulk(classes, assignments, run)
    except (BulkWriteError, sqlite3.Error) as error:
        logger.warning("classes are written one by one, which is slow: %s", error)
        _clear_classes(classes)
        fill_classes_by_item(classes, assignments, run)


def fill_particles(output: Any, particles: Any, assignments: Assignments) -> None:
    """Fill an empty SetOfParticles with the input's particles and their poses."""
    output.copyInfo(particles)
    output.setAlignment(ALIGN_2D)
    try:
        source = _source(particles)
        values = _new_values(assignments, np.zeros(len(assignments), int))
        output.append(_updated(particles, assignments, 0))
        with bulk_writer(output, source, values) as writer:
            writer.fill(output)
        for row in (0, len(assignments) - 1):
            check_item(output, _updated(particles, assignments, row))
    except (BulkWriteError, sqlite3.Error) as error:
        logger.warning("particles are written one by one, which is slow: %s", error)
        output.clear()
        fill_particles_by_item(output, particles, assignments)


def fill_averages(averages: Any, run: RunOutput) -> None:
    """Fill an empty SetOfAverages with the averages of the classes that have members."""
    averages.setSamplingRate(run.pixel_size_angst)
    for average in _alive(run):
        averages.append(_representative(run, average))


def fill_classes_by_item(classes: Any, assignments: Assignments, run: RunOutput) -> None:
    """As `fill_classes`, through pyworkflow."""
    rows = _rows_in_step(classes.getImages(), assignments)

    def update_item(item: Any, row: int) -> None:
        if row < 0:
            item._appendItem = False
        else:
            item._appendItem = True
            _update(item, assignments, row)

    classes.classifyItems(
        updateItemCallback=update_item,
        updateClassCallback=lambda item: _describe(item, run),
        itemDataIterator=iter(rows),
        doClone=False,
    )


def fill_particles_by_item(output: Any, particles: Any, assignments: Assignments) -> None:
    """As `fill_particles`, through pyworkflow."""
    rows = _rows_in_step(particles, assignments)
    for item, row in zip(particles.iterItems(), rows):
        if row >= 0 and item.isEnabled():
            _update(item, assignments, row)
            output.append(item)


def _fill_classes_bulk(classes: Any, assignments: Assignments, run: RunOutput) -> None:
    """Write the members of each class by SQL, then compare samples with pyworkflow's."""
    particles = classes.getImages()
    source = _source(particles)
    values = _new_values(assignments, assignments.class_number)
    members = {
        int(number): np.flatnonzero(assignments.class_number == number)
        for number in np.unique(assignments.class_number)
    }
    written: Dict[int, Any] = {}
    for number, rows in members.items():
        item = classes.ITEM_TYPE(objId=number)
        item.copyInfo(particles)
        item.setAcquisition(particles.getAcquisition())
        _describe(item, run)
        classes.append(item)
        item.append(_updated(particles, assignments, rows[0]))
        written[number] = item
    with bulk_writer(classes, source, values) as writer:
        for number, item in written.items():
            writer.fill(item, number)
            classes.update(item)
    for number, rows in members.items():
        for row in {int(rows[0]), int(rows[-1])}:
            check_item(written[number], _updated(particles, assignments, row))


def _source(particles: Any) -> DatabaseReader:
    """The reader of the input's database; BulkWriteError where that cannot be trusted."""
    reader = open_reader(particles)
    if not isinstance(reader, DatabaseReader):
        raise BulkWriteError("the input set cannot be read from its database")
    return reader


def _new_values(assignments: Assignments, part: np.ndarray) -> NewValues:
    columns: Dict[str, Sequence[Any]] = {
        MATRIX: matrix_texts(assignments.matrices),
        CLASS_ID: assignments.class_number.tolist(),
        SCORE: assignments.score.tolist(),
    }
    return NewValues(assignments.ids.tolist(), part.tolist(), columns)


def _updated(particles: Any, assignments: Assignments, row: int) -> Particle:
    """The input's particle of one row, with its new values."""
    item = particles[int(assignments.ids[row])]
    if item is None:
        raise ValueError(
            f"the run knows particle {assignments.ids[row]}, which the input set does not have: "
            "the input was changed since the run began; restart the protocol"
        )
    item = item.clone()
    _update(item, assignments, row)
    return item


def _update(item: Particle, assignments: Assignments, row: int) -> None:
    """Give a particle its class, pose and score."""
    item.setClassId(int(assignments.class_number[row]))
    item.setTransform(Transform(matrix=assignments.matrices[row]))
    setattr(item, SCORE, Float(float(assignments.score[row])))


def _rows_in_step(particles: Any, assignments: Assignments) -> Iterator[int]:
    """For every particle of the set, in order, its row among the assignments, or -1."""
    row_of = {int(identity): row for row, identity in enumerate(assignments.ids)}
    ids: List[int] = [item.getObjId() for item in particles.iterItems()]
    return (row_of.get(identity, -1) for identity in ids)


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


def _clear_classes(classes: Any) -> None:
    """Remove what a failed bulk write left, so that the set can be filled again."""
    connection = classes._getMapper().db.connection
    connection.rollback()
    tables = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name GLOB 'Class[0-9]*'"
    ).fetchall()
    for (table,) in tables:
        connection.execute(f"DROP TABLE {table}")
    connection.commit()
    classes.clear()
