# SPDX-License-Identifier: GPL-3.0-or-later
"""THUNDER's .thu particle files: 27 numbers and words a line, without a header.

Blanks separate the columns (THUNDER itself does not read tabs); lines that begin with # are
comments. Nothing in the file tells the pixel size or the half sets.
"""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Dict, Union

import numpy as np
import pandas as pd

IMAGE_NAME, MICROGRAPH_NAME = "image_name", "micrograph_name"
GROUP_NUMBER, CLASS_INDEX = "group_number", "class_index"
QUATERNION = ("quaternion_w", "quaternion_x", "quaternion_y", "quaternion_z")
CONCENTRATION = ("k1", "k2", "k3")

THU_COLUMNS = (
    "voltage_v",
    "defocus_u_angst",
    "defocus_v_angst",
    "defocus_angle_rad",
    "cs_angst",
    "amplitude_contrast",
    "phase_shift_rad",
    IMAGE_NAME,
    MICROGRAPH_NAME,
    "coordinate_x_px",
    "coordinate_y_px",
    GROUP_NUMBER,
    CLASS_INDEX,
    *QUATERNION,
    *CONCENTRATION,
    "translation_x_px",
    "translation_y_px",
    "translation_std_x_px",
    "translation_std_y_px",
    "defocus_factor",
    "defocus_std",
    "score",
)
"""Groups are counted from 1, classes from 0. A translation is where the particle's centre lies,
relative to pixel N // 2. k are ratios of concentrations of the rotation about the image's axes."""

_WORDS = (IMAGE_NAME, MICROGRAPH_NAME)
_WHOLE = (GROUP_NUMBER, CLASS_INDEX)
_COMMENT_LINE = re.compile(rb"^[ \t]*#.*\n?", re.MULTILINE)
_ROWS_AT_ONCE = 1 << 16


def read_thu(path: Union[str, Path]) -> pd.DataFrame:
    """Return the columns THU_COLUMNS of a .thu file, numbers as float64 or int64, words as text.

    Raises
    ------
    FileNotFoundError, ValueError
        No such file; no particles; a line with other than 27 columns; a word for a number.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"particle file {path} does not exist")
    with open(path, "rb") as file:
        content = _COMMENT_LINE.sub(b"", file.read())
    if not content.strip():
        raise ValueError(f"{path} holds zero particles: every line is blank or a comment")
    try:
        # Without names pandas takes the first row as the width and refuses longer ones.
        frame = pd.read_csv(
            io.BytesIO(content), sep=r"\s+", header=None, keep_default_na=False, quoting=3,
            float_precision="round_trip",
        )  # fmt: skip
    except (pd.errors.ParserError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is damaged or no .thu file: {error}") from error
    n_columns = len(THU_COLUMNS)
    # Shorter lines are filled with empty words.
    short = np.flatnonzero((frame.iloc[:, -1] == "").to_numpy())
    if frame.shape[1] != n_columns or short.size:
        which = f"particle {short[0] + 1} has fewer" if short.size else f"it has {frame.shape[1]}"
        raise ValueError(
            f"every line of a .thu file must have {n_columns} columns, but in {path} {which}: it "
            "is damaged, or no particle file of THUNDER"
        )
    frame.columns = pd.Index(THU_COLUMNS)
    return pd.DataFrame({name: _column(path, frame, name) for name in THU_COLUMNS})


def _column(path: Path, frame: pd.DataFrame, name: str) -> pd.Series:
    column = frame[name]
    if name in _WORDS:
        return column.astype(str)
    numbers = pd.to_numeric(column, errors="coerce")
    wrong = ~np.isfinite(numbers.to_numpy(np.float64))
    if name in _WHOLE:
        wrong |= numbers.to_numpy(np.float64) != np.rint(numbers.to_numpy(np.float64))
    rows = np.flatnonzero(wrong)
    if rows.size:
        wanted = "a whole number" if name in _WHOLE else "a finite number"
        raise ValueError(
            f"column {THU_COLUMNS.index(name) + 1} ({name}) of {path} must be {wanted}, but of "
            f"particle {rows[0] + 1} it is {column.iloc[rows[0]]!r}: correct or remove "
            f"{'it' if rows.size == 1 else f'the {rows.size} particles like it'}"
        )
    return numbers.astype(np.int64 if name in _WHOLE else np.float64)


def write_thu(path: Union[str, Path], frame: pd.DataFrame) -> None:
    """Write the columns THU_COLUMNS of a frame; floats keep all their digits.

    Raises
    ------
    ValueError
        If a name holds blanks, which the format cannot.
    """
    for name in _WORDS:
        blank = np.flatnonzero(frame[name].str.contains(r"\s|^$|^#", regex=True).to_numpy())
        if blank.size:
            raise ValueError(
                f"a .thu file cannot hold the {name.replace('_', ' ')} of particle "
                f"{blank[0] + 1}, {frame[name].iloc[blank[0]]!r}: it must be a word without "
                "blanks; rename the file or its folder"
            )
    with open(path, "w", encoding="utf-8", newline="") as file:
        for start in range(0, len(frame), _ROWS_AT_ONCE):
            part = frame.iloc[start : start + _ROWS_AT_ONCE]
            words: Dict[str, list] = {
                name: part[name].tolist()
                if name in _WORDS
                else list(map(repr, part[name].tolist()))
                for name in THU_COLUMNS
            }
            file.write("\n".join(map(" ".join, zip(*words.values()))) + "\n")
