# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a run is and how long it will still take."""

from __future__ import annotations

import logging
import time
from contextlib import contextmanager
from math import isfinite
from typing import Any, Callable, Dict, Iterator, Mapping, Optional

from tqdm import tqdm

logger = logging.getLogger(__name__)


class Stopwatch:
    """Seconds spent in each phase of an iteration."""

    def __init__(self) -> None:
        self.seconds: Dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the time spent inside to a phase."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


class Progress:
    """Tells the user on the root rank: a bar on a terminal, a line an iteration in the log."""

    def __init__(self, n_iterations: int, first: int, *, is_root: bool) -> None:
        self._n_iterations = n_iterations
        self._first = first
        self._is_root = is_root
        self._began = time.perf_counter()

    @contextmanager
    def iteration(self, number: int, n_particles: int) -> Iterator[Callable[[int], Any]]:
        """Return a function that takes the number of particles just matched."""
        bar = tqdm(
            total=n_particles,
            desc=f"iteration {number}/{self._n_iterations}",
            unit=" particles",
            leave=False,
            # None: shown only where the output is a terminal, so log files stay readable.
            disable=None if self._is_root else True,
        )
        with bar:
            yield bar.update

    def finished(self, metrics: Optional[Mapping[str, float]]) -> None:
        """Log what an iteration came to and how long the rest will take; other ranks have None."""
        if metrics is None:
            return
        number = int(metrics["iteration"])
        each = (time.perf_counter() - self._began) / max(number - self._first, 1)
        left = (self._n_iterations - number) * each
        changed, finest = metrics["changed_fraction"], metrics["resolution_best_angst"]
        logger.info(
            "iteration %d of %d: %.1f effective classes, %d dead, %s%s; about %s left",
            number,
            self._n_iterations,
            metrics["effective_classes"],
            metrics["dead_classes"],
            # Nothing to compare with in the first iteration.
            f"{100.0 * changed:.1f} % changed class, " if isfinite(changed) else "",
            f"best resolution {finest:.1f} A" if isfinite(finest) else "resolution unknown",
            duration(left),
        )


def duration(seconds: float) -> str:
    """Return a time in words: "8 s", "3 min", "2.5 h"."""
    if seconds < 90.0:
        return f"{seconds:.0f} s"
    if seconds < 5400.0:
        return f"{seconds / 60.0:.0f} min"
    return f"{seconds / 3600.0:.1f} h"
