# SPDX-License-Identifier: GPL-3.0-or-later
"""STAR files as pandas frames, a million rows in seconds.

RELION's subset of STAR: blocks `data_NAME`, each either a loop (a table) or a list of pairs. The
`starfile` package reads the same files line by line in Python; here pandas' C parser reads each
table straight from the bytes, and numbers survive writing and reading to the last bit, which is
what lets a run continue from its STAR file exactly.
"""

from __future__ import annotations

import io
import re
import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Dict, List, Mapping, Tuple, Union

import numpy as np
import pandas as pd

Block = Union[pd.DataFrame, Dict[str, str]]

_BLOCK = b"data_"
_COMMENT_LINE = re.compile(rb"^[ \t]*#.*\n?", re.MULTILINE)
_BLANK = b" \t\r\n"
_NEEDS_QUOTES = re.compile("[ \\t\\r\\n]|\0[#_\"'\0]")
_ROWS_AT_ONCE = 1 << 16
_NOT_A_NUMBER = ("nan", "NaN", "-nan", "<NA>")


def read_star(path: Union[str, Path], *, exact: bool = False) -> Dict[str, Block]:
    """Return the blocks of a STAR file by name (without "data_").

    Parameters
    ----------
    path
        A STAR file as RELION writes it.
    exact
        Read floats of 17 digits to the last bit, as a checkpoint needs it; three times slower.

    Returns
    -------
    dict
        Name to `pandas.DataFrame` for loops (columns named without the underscore, numbers as
        int64 or float64, words as strings) and to a dict of strings for lists of pairs.

    Raises
    ------
    FileNotFoundError, ValueError
        No such file; no data block; a row whose number of values differs from the header's.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"STAR file {path} does not exist")
    with open(path, "rb") as file:
        content = file.read()
    if not content.endswith(b"\n"):
        content += b"\n"
    starts = _block_starts(content)
    if not starts:
        raise ValueError(f"{path} is not a STAR file: it holds no line that begins with data_")
    blocks: Dict[str, Block] = {}
    for start, end in zip(starts, starts[1:] + [len(content)]):
        body, line = _next_line(content, start, end)
        name = line[len(_BLOCK) :].decode()
        if name in blocks:
            raise ValueError(f"STAR file {path} holds two blocks called data_{name}")
        blocks[name] = _read_block(_Span(path, name, content, body, end), exact)
    return blocks


@dataclass(frozen=True)
class _Span:
    """The bytes of one block and what to call it in a message."""

    path: Path
    name: str
    content: bytes
    start: int
    end: int

    def __str__(self) -> str:
        return f"block data_{self.name} of STAR file {self.path}"


def _block_starts(content: bytes) -> List[int]:
    # Plain searching is ten times faster than a regular expression over a million rows.
    starts = [0] if content.startswith(_BLOCK) else []
    position = content.find(b"\n" + _BLOCK)
    while position >= 0:
        starts.append(position + 1)
        position = content.find(b"\n" + _BLOCK, position + 1)
    return starts


def _read_block(span: _Span, exact: bool) -> Block:
    content, end = span.content, span.end
    position, line = _next_line(content, span.start, end)
    if line.split()[:1] == [b"loop_"]:
        return _read_loop(replace(span, start=position), exact)
    pairs: Dict[str, str] = {}
    while line:
        words = shlex.split(line.decode(), posix=True)
        if len(words) < 2 or not words[0].startswith("_"):
            raise ValueError(
                f"{span} must hold a loop_ or pairs "
                f'"_label value", but holds the line "{line.decode()}"'
            )
        pairs[words[0][1:]] = words[1]
        position, line = _next_line(content, position, end)
    return pairs


def _read_loop(span: _Span, exact: bool) -> pd.DataFrame:
    columns: List[str] = []
    content, body, end = span.content, span.start, span.end
    position, line = _next_line(content, body, end)
    while line.startswith(b"_"):
        columns.append(line.split()[0][1:].decode())
        body = position
        position, line = _next_line(content, position, end)
    if not columns:
        raise ValueError(f"{span} begins a loop without column labels")
    if not line:
        return pd.DataFrame({column: pd.Series(dtype=np.float64) for column in columns})
    table = content[body:end]
    if b"#" in table:
        table = _COMMENT_LINE.sub(b"", table)
    quote = "'" if b"'" in table and b'"' not in table else '"'
    try:
        # Without names pandas takes the first row as the width and refuses longer ones.
        frame = pd.read_csv(
            io.BytesIO(table),
            sep=r"\s+",
            header=None,
            quotechar=quote,
            keep_default_na=False,
            na_values=_NOT_A_NUMBER,
            float_precision="round_trip" if exact else "high",
        )
    except pd.errors.ParserError as error:
        raise ValueError(f"{span} is damaged: {error}") from error
    short = np.flatnonzero(frame.iloc[:, -1] == "") if b'""' not in table else np.empty(0)
    if frame.shape[1] != len(columns) or short.size:
        which = f"row {short[0] + 1} has fewer" if short.size else f"rows have {frame.shape[1]}"
        raise ValueError(
            f"{span} has {len(columns)} column labels but {which} values: the file is damaged or "
            "was cut short"
        )
    frame.columns = pd.Index(columns)
    return frame


def _next_line(content: bytes, start: int, end: int) -> Tuple[int, bytes]:
    """Return the end and the text of the next line that is neither blank nor a comment."""
    while start < end:
        stop = content.find(b"\n", start, end)
        stop = end if stop < 0 else stop + 1
        line = content[start:stop].strip(_BLANK)
        start = stop
        if line and not line.startswith(b"#"):
            return start, line
    return end, b""


def write_star(path: Union[str, Path], blocks: Mapping[str, Union[pd.DataFrame, Mapping]]) -> None:
    """Write blocks to a STAR file in the style of RELION 3.1 and later.

    Parameters
    ----------
    path
        Overwritten.
    blocks
        Name (without "data_") to a frame, written as a loop, or to a mapping, written as pairs.
        Floats are written with as many digits as they need to be read back to the last bit.
    """
    with open(path, "w", encoding="utf-8", newline="") as file:
        for name, block in blocks.items():
            file.write(f"\n# version 30001\n\ndata_{name}\n\n")
            if isinstance(block, pd.DataFrame):
                file.write("loop_\n")
                file.writelines(
                    f"_{column} #{number}\n" for number, column in enumerate(block.columns, 1)
                )
                for start in range(0, len(block), _ROWS_AT_ONCE):
                    file.write(_rows_of_text(block.iloc[start : start + _ROWS_AT_ONCE]))
            else:
                file.writelines(f"_{label} {value}\n" for label, value in block.items())
            file.write("\n")


def _rows_of_text(frame: pd.DataFrame) -> str:
    # Twice as fast as DataFrame.to_csv, and repr() of a float is exact.
    columns = [_words(frame.iloc[:, number]) for number in range(frame.shape[1])]
    return "\n".join(map(" ".join, zip(*columns))) + "\n"


def _words(column: pd.Series) -> List[str]:
    if column.dtype.kind == "b":
        return list(map(str, column.astype(int).tolist()))
    if column.dtype.kind in "iuf":
        return list(map(repr, column.tolist()))
    words = list(map(str, column.to_numpy(object).tolist()))
    # One search over all words, for quotes are rare.
    if not _NEEDS_QUOTES.search("\0" + "\0".join(words) + "\0"):
        return words
    return [_quoted(word) if _NEEDS_QUOTES.search(f"\0{word}\0") else word for word in words]


def _quoted(word: str) -> str:
    if '"' in word:
        raise ValueError(f"STAR files cannot hold the word {word}, which has blanks and quotes")
    return f'"{word}"'
