# SPDX-License-Identifier: GPL-3.0-or-later
"""What the figures are drawn from: plain arrays with units in their names.

The report program fills these tables from files, a Scipion viewer from files or sets, a notebook
from whatever it has. An unknown number is NaN, an unknown column is absent; the figures say so in
words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

SORT_ORDERS = ("size", "resolution", "score", "class")


@dataclass(frozen=True)
class ClassTable:
    """One row a class average.

    Parameters
    ----------
    number : (n_classes,) int, class number as in rlnClassNumber, from 1
    n_members : (n_classes,) int, particles assigned
    resolution_angst : (n_classes,) float, resolution of the class in angstrom; NaN where unknown
    mean_score : (n_classes,) float, mean matching score of the members; NaN where unknown
    alive : (n_classes,) bool, False for a class that the run has given up
    """

    number: np.ndarray
    n_members: np.ndarray
    resolution_angst: np.ndarray
    mean_score: np.ndarray
    alive: np.ndarray

    def __post_init__(self) -> None:
        lengths = {name: len(getattr(self, name)) for name in self.__dataclass_fields__}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"Columns of a class table must have one length, but are {lengths}.")

    def __len__(self) -> int:
        return len(self.number)

    @property
    def share(self) -> np.ndarray:
        """(n_classes,) float, members over all assigned particles; zeros when there are none."""
        total = self.n_members.sum()
        return np.asarray(self.n_members / total if total else np.zeros(len(self)))

    @classmethod
    def from_records(cls, records: Sequence[Mapping[str, Any]]) -> ClassTable:
        """Read the ``classes`` list of a model file; a missing or null entry becomes NaN.

        Programs in 2D count ``n_members`` of a class, programs in 3D its ``n_particles``.
        """
        return cls(
            number=np.array([int(row["class"]) for row in records], dtype=int),
            n_members=np.array([_members(row) for row in records], dtype=int),
            resolution_angst=_number_column(records, "resolution_angst"),
            mean_score=_number_column(records, "mean_score"),
            alive=np.array([bool(row.get("alive", True)) for row in records], dtype=bool),
        )

    def order(self, sort_by: str) -> np.ndarray:
        """Return rows (n_classes,) int, best first; unknown values and dead classes come last.

        Parameters
        ----------
        sort_by : "size" (largest first), "resolution" (finest first), "score" (highest first) or
            "class" (by number)
        """
        keys = {
            "size": -self.n_members.astype(float),
            "resolution": self.resolution_angst,
            "score": -self.mean_score,
            "class": self.number.astype(float),
        }
        if sort_by not in keys:
            raise ValueError(f"sort_by must be one of {', '.join(SORT_ORDERS)}; it is {sort_by!r}.")
        key = np.where(np.isnan(keys[sort_by]), np.inf, keys[sort_by])
        gone = np.zeros(len(self), dtype=bool) if sort_by == "class" else ~self.alive
        return np.asarray(np.lexsort((self.number, key, gone)))


@dataclass(frozen=True)
class FrcTable:
    """Ring correlation of the two halves of every class, one row a class and ring.

    Parameters
    ----------
    number : (n_rows,) int, class number
    frequency_inv_angst : (n_rows,) float, 1/angstrom
    frc : (n_rows,) float
    """

    number: np.ndarray
    frequency_inv_angst: np.ndarray
    frc: np.ndarray

    def curve(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Return frequency (n_rings,) in 1/angstrom and FRC (n_rings,) of one class, rising.

        The ring of frequency 0 holds only the mean of the images and is left out.
        """
        rows = np.flatnonzero((self.number == number) & (self.frequency_inv_angst > 0))
        rows = rows[np.argsort(self.frequency_inv_angst[rows], kind="stable")]
        return self.frequency_inv_angst[rows], self.frc[rows]


@dataclass(frozen=True)
class PoseTable:
    """In-plane pose of every assigned particle.

    Parameters
    ----------
    number : (n,) int, class number; 0 where a particle has no class
    psi_deg : (n,) float, degree, as rlnAnglePsi
    shift_px : (n, 2) float, x (column) and y (row), pixel
    mirror : (n,) bool
    score : (n,) float, matching score; NaN where unknown
    """

    number: np.ndarray
    psi_deg: np.ndarray
    shift_px: np.ndarray
    mirror: np.ndarray
    score: np.ndarray

    def __len__(self) -> int:
        return len(self.number)

    def select(self, numbers: Sequence[int]) -> PoseTable:
        """Return the members of the named classes."""
        rows = np.isin(self.number, np.asarray(list(numbers), dtype=int))
        return PoseTable(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))


@dataclass(frozen=True)
class History:
    """Figures of merit of every iteration.

    Parameters
    ----------
    columns : name to (n_iterations,) float, as in the metrics file; ``iteration`` among them
    stages : (n_iterations,) the stage of every round of a 3D refinement; empty in 2D
    """

    columns: Mapping[str, np.ndarray] = field(default_factory=dict)
    stages: tuple[str, ...] = ()

    @classmethod
    def from_columns(cls, columns: Mapping[str, Any]) -> History:
        """Take the columns of a metrics file; the one of words, ``stage``, names the stages."""
        numbers = {name: column for name, column in columns.items() if name != "stage"}
        return cls(
            {name: np.asarray(column, float) for name, column in numbers.items()},
            tuple(str(stage) for stage in columns.get("stage", ())),
        )

    def __len__(self) -> int:
        return len(self.columns.get("iteration", ()))

    def get(self, name: str) -> np.ndarray | None:
        """Return a column (n_iterations,), or None where it is absent or holds no number."""
        column = self.columns.get(name)
        return None if column is None or not np.isfinite(column).any() else column

    @property
    def phase_seconds(self) -> dict[str, np.ndarray]:
        """Name of each timed phase to its seconds (n_iterations,)."""
        prefix = "seconds_"
        return {
            name[len(prefix) :]: column
            for name, column in self.columns.items()
            if name.startswith(prefix) and np.isfinite(column).any()
        }


@dataclass(frozen=True)
class IterationResults:
    """All that one iteration left, ready to be drawn.

    Parameters
    ----------
    averages : (n_classes, box, box) float, class, row, column; None where the file is missing
    classes, frc, poses : tables above; None where the file is missing
    """

    iteration: int
    program: str
    pixel_size_angst: float
    box_size_px: int
    outer_radius_px: float
    classes: ClassTable
    averages: np.ndarray | None = None
    frc: FrcTable | None = None
    poses: PoseTable | None = None


def _members(row: Mapping[str, Any]) -> int:
    return int(row["n_members"] if "n_members" in row else row.get("n_particles") or 0)


def _number_column(records: Sequence[Mapping[str, Any]], name: str) -> np.ndarray:
    values = (row.get(name) for row in records)
    return np.array([np.nan if value is None else float(value) for value in values], dtype=float)
