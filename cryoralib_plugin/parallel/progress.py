# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a run is, on the root rank, and where its time goes."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import Any, Callable, Dict, Iterator

from tqdm import tqdm


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


@contextmanager
def progress_bar(label: str, n_particles: int, *, is_root: bool) -> Iterator[Callable[[int], Any]]:
    """Show a bar with the time left on the root's terminal; give what takes particles just done."""
    bar = tqdm(
        total=n_particles,
        desc=label,
        unit=" particles",
        leave=False,
        # None: shown only where the output is a terminal, so log files stay readable.
        disable=None if is_root else True,
    )
    with bar:
        yield bar.update


def duration(seconds: float) -> str:
    """Return a time in words: "8 s", "3 min", "2.5 h"."""
    if seconds < 90.0:
        return f"{seconds:.0f} s"
    if seconds < 5400.0:
        return f"{seconds / 60.0:.0f} min"
    return f"{seconds / 3600.0:.1f} h"
