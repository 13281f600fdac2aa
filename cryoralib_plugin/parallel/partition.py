# SPDX-License-Identifier: GPL-3.0-or-later
"""Which particles belong to which rank."""

from __future__ import annotations

import numpy as np


def rows_of_rank(n_rows: int, rank: int, size: int) -> np.ndarray:
    """Return the rows of one rank: contiguous, in order, their numbers differing by at most one.

    Returns
    -------
    (n_rows_of_rank,) int64

    Raises
    ------
    ValueError
        If the rank does not lie in 0 .. size - 1.
    """
    if not 0 <= rank < size:
        raise ValueError(f"rank must lie between 0 and {size - 1}, but it is {rank}")
    return np.arange(n_rows * rank // size, n_rows * (rank + 1) // size, dtype=np.int64)
