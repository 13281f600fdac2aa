# SPDX-License-Identifier: GPL-3.0-or-later
"""Fill a Scipion set with the items of another one and new values: in bulk, inside the database.

pyworkflow writes 1,000 to 2,000 particles a second; copying rows from database to database takes a
second for 100,000. One prototype goes through pyworkflow, which makes the tables; the rest of
the rows follow by SQL. What was written is then compared with pyworkflow's own items, and the
caller falls back to pyworkflow if they differ (`BulkWriteError`).
"""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Dict, Iterator, Mapping, Sequence

from .set_reader import ITEM_ID, DatabaseReader

FIXED = ("id", "enabled", "label", "comment", "creation")


class BulkWriteError(RuntimeError):
    """What was written in bulk is not what pyworkflow would have written."""


@dataclass(frozen=True)
class NewValues:
    """Values that items get beside those of the source set.

    `ids` (n,) are the object ids, `part` (n,) the class of each item or 0, and `columns` the new
    properties, such as "_transform._matrix", with n values each.
    """

    ids: Sequence[int]
    part: Sequence[int]
    columns: Mapping[str, Sequence[Any]]


class BulkWriter:
    """Writes items of a source set with new values into the database of a target set."""

    def __init__(self, connection: sqlite3.Connection, source: DatabaseReader, values: NewValues):
        self._connection = connection
        self._source = source
        self._names = list(values.columns)
        self._counts: Dict[int, int] = {}
        for part in values.part:
            self._counts[part] = self._counts.get(part, 0) + 1
        columns = "".join(f", v{number}" for number in range(len(self._names)))
        marks = ", ?" * len(self._names)
        connection.execute(
            f"CREATE TEMP TABLE new_values (id INTEGER PRIMARY KEY, part INTEGER{columns})"
        )
        connection.executemany(
            f"INSERT INTO new_values VALUES (?, ?{marks})",
            zip(values.ids, values.part, *values.columns.values()),
        )
        connection.execute("CREATE INDEX temp.by_part ON new_values (part)")
        connection.commit()

    def fill(self, target: Any, part: int = 0) -> int:
        """Fill a set that holds just a prototype with the items of one part; their number."""
        prefix = _prefix(target)
        count = self._counts.get(part, 0)
        existing = [
            row[1] for row in self._connection.execute(f"PRAGMA table_info({prefix}Objects)")
        ]
        name_of = {
            column: name
            for name, column in self._connection.execute(
                f"SELECT label_property, column_name FROM {prefix}Classes"
            )
        }
        own = [column for column in existing if column not in FIXED]
        prototype = self._connection.execute(
            f"SELECT {', '.join(own)} FROM {prefix}Objects LIMIT 1"
        ).fetchone()
        constants = []
        chosen = []
        for column, constant in zip(own, prototype):
            name = name_of[column]
            if name in self._names:
                chosen.append(f"n.v{self._names.index(name)}")
            elif name in self._source.columns:
                chosen.append(f"s.{self._source.columns[name]}")
            else:
                chosen.append("?")
                constants.append(constant)
        self._connection.execute(f"DELETE FROM {prefix}Objects")
        self._connection.execute(
            f"INSERT INTO {prefix}Objects ({', '.join([*FIXED, *own])}) "
            "SELECT s.id, s.enabled, s.label, s.comment, datetime('now'), "
            f"{', '.join(chosen)} FROM temp.new_values n "
            f"JOIN source.{self._source.prefix}Objects s ON s.id = n.id "
            "WHERE n.part = ? AND s.enabled ORDER BY n.id",
            (*constants, part),
        )
        written = self._connection.execute(f"SELECT COUNT(*) FROM {prefix}Objects").fetchone()[0]
        if written != count:
            raise BulkWriteError(
                f"{written} of {count} items were found in the input set for part {part}"
            )
        target._size.set(count)
        return count


@contextmanager
def bulk_writer(target: Any, source: DatabaseReader, values: NewValues) -> Iterator[BulkWriter]:
    """A writer into the database of a target set whose tables exist; commits at the end."""
    connection = target._getMapper().db.connection
    connection.commit()
    connection.execute("ATTACH DATABASE ? AS source", (source.database,))
    try:
        yield BulkWriter(connection, source, values)
        connection.commit()
    finally:
        connection.rollback()
        connection.execute("DROP TABLE IF EXISTS temp.new_values")
        connection.commit()
        connection.execute("DETACH DATABASE source")


def check_item(target: Any, expected: Any) -> None:
    """Compare a written item with what pyworkflow would have stored for it."""
    found = target[expected.getObjId()]
    if found is None:
        raise BulkWriteError(f"item {expected.getObjId()} was not written")
    wanted: Dict[str, Any] = expected.getObjDict()
    stored = found.getObjDict()
    for name, value in wanted.items():
        if name != ITEM_ID and stored.get(name) != value and value == value:
            raise BulkWriteError(
                f"{name} of item {expected.getObjId()} is {stored.get(name)!r}, not {value!r}"
            )


def _prefix(target: Any) -> str:
    """The prefix of the target's tables."""
    prefix = (target.getPrefix() or "").strip()
    return f"{prefix}_" if prefix and not prefix.endswith("_") else prefix
