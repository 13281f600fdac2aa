# SPDX-License-Identifier: GPL-3.0-or-later
"""What this machine has: GPUs, processor cores and memory, found without CUDA."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from functools import lru_cache
from typing import Tuple

import psutil

GIB = 2**30


@dataclass(frozen=True)
class Hardware:
    """GPUs with their memory, cores this process may use, and memory."""

    gpu_bytes: Tuple[int, ...]
    n_cores: int
    host_bytes: int

    @property
    def n_gpus(self) -> int:
        return len(self.gpu_bytes)

    def in_words(self) -> str:
        """One line for the user."""
        gpus = (
            f"{self.n_gpus} GPU(s) of {min(self.gpu_bytes) / GIB:.0f} GiB"
            if self.gpu_bytes
            else "no GPU"
        )
        return f"{gpus}, {self.n_cores} cores, {self.host_bytes / GIB:.0f} GiB of memory"


@dataclass(frozen=True)
class Layout:
    """How a run is laid out on a machine."""

    gpu_list: str
    n_ranks: int
    n_threads: int


def layout_for(hardware: Hardware) -> Layout:
    """One rank for each GPU with its share of the cores; without GPUs one rank with all cores.

    Threads of one rank share the references and need no reduction between ranks, so on one
    machine without GPUs more ranks gain nothing.
    """
    if not hardware.gpu_bytes:
        return Layout("", 1, hardware.n_cores)
    n_ranks = hardware.n_gpus
    gpu_list = " ".join(str(number) for number in range(n_ranks))
    return Layout(gpu_list, n_ranks, max(1, hardware.n_cores // n_ranks))


@lru_cache(maxsize=1)
def this_machine() -> Hardware:
    """The hardware of this machine, as the driver's nvidia-smi and the system tell it."""
    return Hardware(_gpu_bytes(), len(os.sched_getaffinity(0)), psutil.virtual_memory().total)


def _gpu_bytes() -> Tuple[int, ...]:
    """The memory of each GPU; nothing where there is no driver."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return ()
    query = [program, "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        found = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True)
    except (subprocess.SubprocessError, OSError):
        return ()
    words = found.stdout.split()
    return tuple(int(word) * 2**20 for word in words if word.isdigit())
