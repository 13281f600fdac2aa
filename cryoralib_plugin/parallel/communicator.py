# SPDX-License-Identifier: GPL-3.0-or-later
"""What a program asks of its ranks, and the communicator of a run without MPI."""

from __future__ import annotations

import dataclasses
from typing import Any, Callable, Protocol, TypeVar

import numpy as np

Value = TypeVar("Value")


class Communicator(Protocol):
    """A group of ranks that work on one run. It speaks NumPy; device arrays come home first."""

    rank: int
    size: int
    local_rank: int

    @property
    def is_root(self) -> bool:
        """Whether this rank writes the files and speaks to the user."""

    def broadcast(self, value: Value) -> Value:
        """Return the root's value on every rank."""

    def sum(self, value: Value) -> Value:
        """Return the sum over ranks, on every rank, of an array or of each array in a dataclass.

        Integer sums are exact and therefore the same for any number of ranks.
        """

    def gather_rows(self, value: Value) -> Value | None:
        """Return, on the root, the rows (axis 0) of all ranks in rank order; None elsewhere."""

    def split(self, color: int) -> Communicator:
        """Return the communicator of the ranks that gave the same colour."""

    def barrier(self) -> None:
        """Wait until every rank has come here."""

    def abort(self, code: int) -> None:
        """End every rank at once with this exit code."""


def map_arrays(function: Callable[[np.ndarray], Any], value: Any) -> Any:
    """Apply a function to an array, or to each array of a dataclass, in the order of its fields."""
    if isinstance(value, np.ndarray):
        return function(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        changed = {
            field.name: map_arrays(function, getattr(value, field.name))
            for field in dataclasses.fields(value)
            if _holds_arrays(getattr(value, field.name))
        }
        return dataclasses.replace(value, **changed)
    raise TypeError(f"expected an array or a dataclass of arrays, not {type(value).__name__}")


def _holds_arrays(value: Any) -> bool:
    return isinstance(value, np.ndarray) or (
        dataclasses.is_dataclass(value) and not isinstance(value, type)
    )


class SerialCommunicator:
    """One rank: everything is already here."""

    rank = 0
    size = 1
    local_rank = 0
    is_root = True

    def broadcast(self, value: Value) -> Value:
        """Return the value itself."""
        return value

    def sum(self, value: Value) -> Value:
        """Return the value itself."""
        return value

    def gather_rows(self, value: Value) -> Value:
        """Return the value itself."""
        return value

    def split(self, color: int) -> SerialCommunicator:
        """Return this communicator."""
        return self

    def barrier(self) -> None:
        """Return at once."""

    def abort(self, code: int) -> None:
        """End the program with this exit code."""
        raise SystemExit(code)
