# SPDX-License-Identifier: GPL-3.0-or-later
"""Read columns of a Scipion set: straight from its database, or item by item where that fails.

The database of a set has a table `Classes`, which maps properties such as `_ctfModel._defocusU`
to columns such as c07, and a table `Objects` with one row an item. Reading it takes 0.2 s for
100,000 particles; pyworkflow's iteration takes 7 s, and keeps the meaning of the columns to itself.
The straight way is used only where the first and the last item agree with pyworkflow's own.
"""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import (
    Any,
    Dict,
    FrozenSet,
    Iterator,
    List,
    NamedTuple,
    Optional,
    Protocol,
    Sequence,
    Tuple,
)

logger = logging.getLogger(__name__)

ITEM_ID = "id"
MATRIX = "_transform._matrix"
Row = Tuple[Any, ...]


class Extent(NamedTuple):
    """The items that lack a property, and its lowest and highest value; None where all lack it."""

    n_missing: int
    lowest: Optional[float]
    highest: Optional[float]


class SetReader(Protocol):
    """The enabled items of a set, in the order of their ids."""

    properties: FrozenSet[str]

    def rows(self, names: Sequence[str]) -> Iterator[Row]:
        """One tuple per item with these properties; None for a property the set lacks."""

    def distinct(self, names: Sequence[str]) -> List[Row]:
        """The different combinations of these properties, sorted."""

    def complete(self, names: Sequence[str]) -> FrozenSet[str]:
        """Those of these properties that every item has a value of."""

    def count(self) -> int:
        """The number of enabled items."""

    def extent(self, name: str) -> Extent:
        """Over what a property of numbers extends."""


class DatabaseReader:
    """Reads the set's database."""

    def __init__(self, database: str, prefix: str = ""):
        if not Path(database).is_file():
            raise FileNotFoundError(f"the set's database {database} does not exist")
        self.database = database
        self.prefix = f"{prefix}_" if prefix and not prefix.endswith("_") else prefix
        with closing(self._connect()) as connection:
            existing = {
                row[1] for row in connection.execute(f"PRAGMA table_info({self.prefix}Objects)")
            }
            declared = connection.execute(
                f"SELECT label_property, column_name FROM {self.prefix}Classes"
            )
            # The row 'self' names a column that does not exist.
            self.columns: Dict[str, str] = {
                name: column for name, column in declared if column in existing
            }
        self.properties = frozenset(self.columns)

    def rows(self, names: Sequence[str]) -> Iterator[Row]:
        with closing(self._connect()) as connection:
            yield from connection.execute(
                f"SELECT {self._select(names)} FROM {self.prefix}Objects WHERE enabled ORDER BY id"
            )

    def distinct(self, names: Sequence[str]) -> List[Row]:
        if not names:
            return [()]
        with closing(self._connect()) as connection:
            found = connection.execute(
                f"SELECT DISTINCT {self._select(names)} FROM {self.prefix}Objects WHERE enabled"
            )
            return sorted(found, key=repr)

    def complete(self, names: Sequence[str]) -> FrozenSet[str]:
        asked = [name for name in names if name in self.columns]
        if not asked:
            return frozenset()
        holes = ", ".join(f"SUM({self.columns[name]} IS NULL)" for name in asked)
        with closing(self._connect()) as connection:
            query = f"SELECT {holes} FROM {self.prefix}Objects WHERE enabled"
            found = connection.execute(query).fetchone()
        return frozenset(name for name, missing in zip(asked, found) if missing == 0)

    def count(self) -> int:
        with closing(self._connect()) as connection:
            query = f"SELECT COUNT(*) FROM {self.prefix}Objects WHERE enabled"
            return int(connection.execute(query).fetchone()[0])

    def extent(self, name: str) -> Extent:
        if name not in self.columns:
            return Extent(self.count(), None, None)
        column = self.columns[name]
        query = (
            f"SELECT COUNT(*) - COUNT({column}), MIN({column}), MAX({column}) "
            f"FROM {self.prefix}Objects WHERE enabled"
        )
        with closing(self._connect()) as connection:
            return Extent(*connection.execute(query).fetchone())

    def _select(self, names: Sequence[str]) -> str:
        return ", ".join(
            ITEM_ID if name == ITEM_ID else self.columns.get(name, "NULL") for name in names
        )

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(f"{Path(self.database).resolve().as_uri()}?mode=ro", uri=True)


class ItemReader:
    """Reads a set through pyworkflow, item by item."""

    def __init__(self, items: Any):
        self._items = items
        self.properties = frozenset(_properties(items.getFirstItem()))

    def rows(self, names: Sequence[str]) -> Iterator[Row]:
        for item in self._items.iterItems():
            if item.isEnabled():
                found = _properties(item)
                yield tuple(found.get(name) for name in names)

    def distinct(self, names: Sequence[str]) -> List[Row]:
        return sorted(set(self.rows(names)), key=repr) if names else [()]

    def complete(self, names: Sequence[str]) -> FrozenSet[str]:
        asked = [name for name in names if name in self.properties]
        holes = set()
        for values in self.rows(asked):
            holes.update(name for name, value in zip(asked, values) if value is None)
        return frozenset(asked) - holes

    def count(self) -> int:
        return sum(1 for _ in self.rows([ITEM_ID]))

    def extent(self, name: str) -> Extent:
        values = [value for (value,) in self.rows([name])]
        known = [value for value in values if value is not None]
        lowest, highest = (min(known), max(known)) if known else (None, None)
        return Extent(len(values) - len(known), lowest, highest)


def open_reader(items: Any) -> SetReader:
    """The reader of a set: its database where that agrees with pyworkflow, else item by item."""
    try:
        reader = DatabaseReader(items.getFileName(), (items.getPrefix() or "").strip())
        difference = _difference(reader, items)
    except (sqlite3.Error, OSError, TypeError, KeyError) as error:
        difference = str(error)
    if not difference:
        return reader
    logger.warning("%s is read item by item, which is slow: %s", items.getFileName(), difference)
    return ItemReader(items)


def _difference(reader: DatabaseReader, items: Any) -> str:
    """In what the reader differs from pyworkflow for the first and last item; empty if nothing."""
    for direction in ("ASC", "DESC"):
        item = next(iter(items.iterItems(direction=direction, limit=1)), None)
        if item is None:
            return "the set is empty"
        expected = _properties(item)
        names = sorted(set(expected) & reader.properties)
        missing = sorted(set(reader.properties) - set(expected))
        if missing:
            return f"the database has properties that its items lack: {', '.join(missing)}"
        with closing(reader._connect()) as connection:
            found = connection.execute(
                f"SELECT {reader._select(names)} FROM {reader.prefix}Objects WHERE id = ?",
                (item.getObjId(),),
            ).fetchone()
        for name, value in zip(names, found or ()):
            if value is None and name == MATRIX:
                continue  # pyworkflow makes the identity of it, which is a pose
            if value != expected[name] and not (value != value and expected[name] is None):
                return f"{name} of item {item.getObjId()} is {value!r}, not {expected[name]!r}"
        if found is None:
            return f"the database lacks item {item.getObjId()}"
    return ""


def _properties(item: Any) -> Dict[str, Any]:
    """The stored properties of an item with its id."""
    return {**item.getObjDict(), ITEM_ID: item.getObjId()}
