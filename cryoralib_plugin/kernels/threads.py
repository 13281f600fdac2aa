# SPDX-License-Identifier: GPL-3.0-or-later
"""Threads for work in which matrix products and Numba loops take turns.

The threads of a BLAS and those of Numba would wait for one another at every turn, spinning on the
cores the others need. Here a thread does both, alone, for items that fit its cache.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any, Callable, Iterable

from numba import get_num_threads
from threadpoolctl import ThreadpoolController


@lru_cache(maxsize=1)
def _libraries() -> ThreadpoolController:
    return ThreadpoolController()


@lru_cache(maxsize=1)
def _pool(n_threads: int) -> ThreadPoolExecutor:
    """Return threads that stay: to start one takes as long as a small item."""
    return ThreadPoolExecutor(n_threads)


def in_threads(work: Callable[[Any], None], items: Iterable[Any]) -> None:
    """Call ``work(item)`` for every item, on as many threads as Numba has.

    Meanwhile a matrix product takes one thread. What is called should let go of the interpreter's
    lock: NumPy's products and functions compiled with ``nogil=True`` do.
    """
    with _libraries().limit(limits=1, user_api="blas"):
        # Taking the results raises what went wrong in a thread.
        for _ in _pool(get_num_threads()).map(work, items):
            pass
