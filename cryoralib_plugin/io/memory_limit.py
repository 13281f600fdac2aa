# SPDX-License-Identifier: GPL-3.0-or-later
"""How much memory this process may still take, so that a cache never brings the machine down."""

from __future__ import annotations

import contextlib
import os
import resource
from pathlib import Path
from typing import List

_MEMINFO = Path("/proc/meminfo")
_CGROUP_LIMITS = (
    (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")),
    (
        Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
        Path("/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ),
)
_STATM = Path("/proc/self/statm")


def free_memory_bytes() -> int:
    """Return the smallest of: memory that is free, what a container or a `ulimit -v` leaves."""
    limits: List[int] = []
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in _MEMINFO.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                limits.append(1024 * int(line.split()[1]))
    for limit_file, used_file in _CGROUP_LIMITS:
        # "max" stands for no limit and is no number.
        with contextlib.suppress(OSError, ValueError):
            limits.append(int(limit_file.read_text()) - int(used_file.read_text()))
    address_space = resource.getrlimit(resource.RLIMIT_AS)[0]
    if address_space != resource.RLIM_INFINITY:
        with contextlib.suppress(OSError, ValueError, IndexError):
            in_use = int(_STATM.read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
            limits.append(address_space - in_use)
    if not limits:
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2)
    return max(0, min(limits))
