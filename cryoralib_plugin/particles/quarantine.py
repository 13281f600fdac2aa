# SPDX-License-Identifier: GPL-3.0-or-later
"""Particles that cannot be used: found while reading, listed with the reason, never fatal alone."""

from __future__ import annotations

import threading
from typing import Any, Dict, Iterable, Tuple

import numpy as np
import pandas as pd

from cryoralib_plugin.contract.results import QUARANTINE_COLUMNS

from .table import ParticleTable

NOT_FINITE = "the image holds NaN or Inf"
CONSTANT = "the image is constant"
CONSTANT_BACKGROUND = "the background is constant, so it cannot be normalised"
OVERFLOW = "preparing the image overflowed: its grey values are too large"
NO_WEIGHT = "no pose gave it a finite weight"
_REASON_CHARACTERS = 120


class Quarantine:
    """Rows of the particle table that are set aside, each with its first reason."""

    def __init__(self) -> None:
        self._reasons: Dict[int, str] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._reasons)

    def add(self, rows: Iterable[int], reason: str) -> None:
        """Set rows aside; the first reason for a row stands."""
        with self._lock:
            for row in rows:
                self._reasons.setdefault(int(row), reason)

    def items(self) -> Tuple[Tuple[int, str], ...]:
        """Return (row, reason) pairs in the order of rows."""
        with self._lock:
            return tuple(sorted(self._reasons.items()))

    @property
    def rows(self) -> np.ndarray:
        """(m,) int64, the rows set aside, sorted."""
        return np.array([row for row, _ in self.items()], dtype=np.int64)

    def without(self, rows: np.ndarray) -> np.ndarray:
        """Return the given rows that are not set aside, in their order."""
        if not self._reasons:
            return rows
        return rows[~np.isin(rows, self.rows)]


def find_unusable(images: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """Return which raw images are not finite and which are constant, two (n,) bool arrays."""
    flat = images.reshape(len(images), -1)
    lowest, highest = flat.min(axis=1), flat.max(axis=1)
    not_finite = ~(np.isfinite(lowest) & np.isfinite(highest))
    return not_finite, (lowest == highest) & ~not_finite


def gathered_items(
    items: Iterable[Tuple[int, str]], rows: np.ndarray, comm: Any
) -> Tuple[Tuple[int, str], ...]:
    """Return, on the root, what all ranks set aside; nothing elsewhere. Every rank must call this.

    Parameters
    ----------
    items
        (row, reason) of this rank; those of rows that are not its own are left to others.
    rows
        (m,) int64, the rows of the table that belong to this rank.
    """
    known, own = dict(items), set(rows.tolist())
    mine = np.array(sorted(own.intersection(known)), dtype=np.int64)
    reasons = np.array([known[row] for row in mine.tolist()], dtype=f"<U{_REASON_CHARACTERS}")
    all_rows, all_reasons = comm.gather_rows(mine), comm.gather_rows(reasons)
    return tuple(zip(all_rows.tolist(), map(str, all_reasons))) if comm.is_root else ()


def quarantine_frame(table: ParticleTable, items: Iterable[Tuple[int, str]]) -> pd.DataFrame:
    """Return the list for quarantine.csv of (row, reason) pairs, of all ranks, sorted by row.

    Raises
    ------
    ValueError
        If nothing is left of the particle set; the message tells the commonest reason.
    """
    items = sorted(dict(items).items())
    rows = [row for row, _ in items]
    reasons = [reason for _, reason in items]
    if len(rows) == len(table):
        commonest = max(set(reasons), key=reasons.count)
        raise ValueError(
            f"none of the {len(table)} particles can be used; most often because "
            f"{commonest}: check the stacks and the preprocessing"
        )
    values = (table.image_ids[rows], table.image_names[rows], reasons)
    return pd.DataFrame(dict(zip(QUARANTINE_COLUMNS, values)))
