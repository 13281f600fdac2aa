# SPDX-License-Identifier: GPL-3.0-or-later
"""STAR files on Scipion's side: read with emtable, which pwem brings; written line by line."""

from __future__ import annotations

from pathlib import Path
from typing import Dict, Iterable, List, Sequence, TextIO, Union

import numpy as np
from emtable import Table

from cryoralib_plugin.contract.labels import COLUMNS

Columns = Dict[str, np.ndarray]


def read_tables(path: Union[str, Path]) -> Dict[str, Columns]:
    """The tables of a STAR file by name, each as {column: values}.

    Columns that `contract/labels.py` declares have its type (int64, float64 or str objects); any
    other column stays text. A table written as single values has one row.
    """
    path = Path(path)
    with open(path, encoding="utf-8") as lines:
        names = [line.split()[0][len("data_") :] for line in lines if line.startswith("data_")]
    if not names:
        raise ValueError(f"{path} is not a STAR file: it has no line that begins with data_")
    return {name: _read_table(path, name) for name in names}


def read_columns(path: Union[str, Path], table: str, names: Sequence[str]) -> Columns:
    """Only these columns of one table, typed; a column the table lacks is left out."""
    return _read_table(Path(path), table, names)


def write_loop(out: TextIO, table: str, columns: Sequence[str], rows: Iterable[str]) -> None:
    """Write one table; every row is a line that is formatted already, without its line end."""
    out.write(f"# version 30001\n\ndata_{table}\n\nloop_\n")
    for number, name in enumerate(columns, start=1):
        out.write(f"_{name} #{number}\n")
    for row in rows:
        out.write(row + "\n")
    out.write("\n")


def _read_table(path: Path, table: str, wanted: Sequence[str] = ()) -> Columns:
    """One table as {column: values}; all columns where none is named."""
    with open(path, encoding="utf-8") as lines:
        # emtable looks for the first line that begins with data_<name>; data_ alone is a table
        # too, and data_optics must not stand for data_optics_extra.
        for line in iter(lines.readline, ""):
            if line.startswith("data_") and line.split()[0] == f"data_{table}":
                break
        else:
            raise ValueError(f"{path} has no table data_{table}")
        reader = Table.Reader(_Rewound(line, lines), tableName=table, guessType=False)
        names = [column.getName() for column in reader.getColumns()]
        try:
            rows: List[Sequence[str]] = list(reader)
        except TypeError as error:
            raise ValueError(
                f"a row of table data_{table} in {path} does not have {len(names)} values, one "
                f"for each column ({error})"
            ) from error
    by_column = dict(zip(names, zip(*rows))) if rows else {name: () for name in names}
    return {
        name: _typed(path, name, by_column[name])
        for name in names
        if name in by_column and (not wanted or name in wanted)
    }


def _typed(path: Path, name: str, texts: Sequence[str]) -> np.ndarray:
    """A column with its declared type."""
    declared = COLUMNS.get(name)
    if declared is None or declared.kind is str:
        return np.array(texts, object)
    try:
        values = np.array(texts, float)
    except ValueError as error:
        raise ValueError(f"column {name} of {path} must hold numbers: {error}") from error
    if declared.kind is int:
        return np.rint(values).astype(np.int64)
    return values


class _Rewound:
    """A file that gives one line again before it goes on."""

    def __init__(self, line: str, lines: TextIO):
        self._line = line
        self._lines = lines

    def readline(self) -> str:
        line, self._line = self._line, ""
        return line or self._lines.readline()
