# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a run is and how long it will still take."""

from __future__ import annotations

import logging
import time
from math import isfinite
from typing import Any, Callable, ContextManager, Mapping, Optional

from cryoralib_plugin.parallel.progress import duration, progress_bar

logger = logging.getLogger(__name__)


class Progress:
    """Tells the user on the root rank: a bar on a terminal, a line an iteration in the log."""

    def __init__(self, n_iterations: int, first: int, *, is_root: bool) -> None:
        self._n_iterations = n_iterations
        self._first = first
        self._is_root = is_root
        self._began = time.perf_counter()

    def iteration(self, number: int, n_particles: int) -> ContextManager[Callable[[int], Any]]:
        """Return a bar for one iteration, which takes the number of particles just matched."""
        label = f"iteration {number}/{self._n_iterations}"
        return progress_bar(label, n_particles, is_root=self._is_root)

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
