# SPDX-License-Identifier: GPL-3.0-or-later
"""New rows of particles as Scipion sets: in bulk where that can be trusted, else one by one."""

from __future__ import annotations

import logging
import sqlite3
from typing import Any, Callable, Dict, Iterator, List, Mapping, Protocol, Sequence

import numpy as np
from pwem.objects import Particle

from .set_reader import DatabaseReader, open_reader
from .set_writer import BulkWriteError, NewValues, bulk_writer, check_item

logger = logging.getLogger(__name__)

CLASS_ID = "_classId"

Describe = Callable[[Any], None]
"""Gives a class its representative and what is known of it."""


class NewRows(Protocol):
    """What particles get beside what the input set says of them, sorted by object id.

    `ids` and `class_number` are (n,) int64. Particles that are not among them are left out.
    """

    ids: np.ndarray
    class_number: np.ndarray

    def __len__(self) -> int:
        """The number of particles."""

    def columns(self) -> Mapping[str, Sequence[Any]]:
        """Property, such as "_transform._matrix", to the n values that are stored."""

    def update(self, item: Particle, row: int) -> None:
        """Give a particle the same values through pyworkflow."""


def fill_classes(classes: Any, rows: NewRows, describe: Describe) -> None:
    """Fill an empty set of classes of the input particles with the members of each class."""
    try:
        _fill_classes_bulk(classes, rows, describe)
    except (BulkWriteError, sqlite3.Error) as error:
        logger.warning("classes are written one by one, which is slow: %s", error)
        _clear_classes(classes)
        fill_classes_by_item(classes, rows, describe)


def fill_particles(output: Any, particles: Any, rows: NewRows, alignment: str) -> None:
    """Fill an empty SetOfParticles with the input's particles and their new values."""
    output.copyInfo(particles)
    output.setAlignment(alignment)
    try:
        source = _source(particles)
        values = _new_values(rows, np.zeros(len(rows), int))
        output.append(_updated(particles, rows, 0))
        with bulk_writer(output, source, values) as writer:
            writer.fill(output)
        for row in (0, len(rows) - 1):
            check_item(output, _updated(particles, rows, row))
    except (BulkWriteError, sqlite3.Error) as error:
        logger.warning("particles are written one by one, which is slow: %s", error)
        output.clear()
        fill_particles_by_item(output, particles, rows)


def fill_classes_by_item(classes: Any, rows: NewRows, describe: Describe) -> None:
    """As `fill_classes`, through pyworkflow."""

    def update_item(item: Any, row: int) -> None:
        if row < 0:
            item._appendItem = False
        else:
            item._appendItem = True
            rows.update(item, row)

    classes.classifyItems(
        updateItemCallback=update_item,
        updateClassCallback=describe,
        itemDataIterator=iter(_rows_in_step(classes.getImages(), rows)),
        doClone=False,
    )


def fill_particles_by_item(output: Any, particles: Any, rows: NewRows) -> None:
    """As `fill_particles`, through pyworkflow."""
    for item, row in zip(particles.iterItems(), _rows_in_step(particles, rows)):
        if row >= 0 and item.isEnabled():
            rows.update(item, row)
            output.append(item)


def _fill_classes_bulk(classes: Any, rows: NewRows, describe: Describe) -> None:
    """Write the members of each class by SQL, then compare samples with pyworkflow's."""
    particles = classes.getImages()
    source = _source(particles)
    values = _new_values(rows, rows.class_number)
    members = {
        int(number): np.flatnonzero(rows.class_number == number)
        for number in np.unique(rows.class_number)
    }
    written: Dict[int, Any] = {}
    for number, own in members.items():
        item = classes.ITEM_TYPE(objId=number)
        item.copyInfo(particles)
        item.setAcquisition(particles.getAcquisition())
        describe(item)
        classes.append(item)
        item.append(_updated(particles, rows, own[0]))
        written[number] = item
    with bulk_writer(classes, source, values) as writer:
        for number, item in written.items():
            writer.fill(item, number)
            classes.update(item)
    for number, own in members.items():
        for row in {int(own[0]), int(own[-1])}:
            check_item(written[number], _updated(particles, rows, row))


def _source(particles: Any) -> DatabaseReader:
    """The reader of the input's database; BulkWriteError where that cannot be trusted."""
    reader = open_reader(particles)
    if not isinstance(reader, DatabaseReader):
        raise BulkWriteError("the input set cannot be read from its database")
    return reader


def _new_values(rows: NewRows, part: np.ndarray) -> NewValues:
    return NewValues(rows.ids.tolist(), part.tolist(), rows.columns())


def _updated(particles: Any, rows: NewRows, row: int) -> Particle:
    """The input's particle of one row, with its new values."""
    item = particles[int(rows.ids[row])]
    if item is None:
        raise ValueError(
            f"the run knows particle {rows.ids[row]}, which the input set does not have: "
            "the input was changed since the run began; restart the protocol"
        )
    item = item.clone()
    rows.update(item, row)
    return item


def _rows_in_step(particles: Any, rows: NewRows) -> Iterator[int]:
    """For every particle of the set, in order, its row among the new ones, or -1."""
    row_of = {int(identity): row for row, identity in enumerate(rows.ids)}
    ids: List[int] = [item.getObjId() for item in particles.iterItems()]
    return (row_of.get(identity, -1) for identity in ids)


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
