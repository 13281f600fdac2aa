# SPDX-License-Identifier: GPL-3.0-or-later
"""What this machine gives to this rank: its number, its cores, its memory."""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path
from typing import Iterator, NamedTuple

_MEMORY_SHARE = 0.8
"""Part of the free memory that the ranks of a machine plan with."""

_ADDRESS_SHARE = 0.6
"""Part of an address space limit that is planned with: threads and libraries take addresses too."""

_LAUNCHERS = (
    ("PMI_RANK", "PMI_SIZE", "MPI_LOCALNRANKS"),
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_SIZE"),
    ("PMIX_RANK", "SLURM_NTASKS", "SLURM_NTASKS_PER_NODE"),
)


class Launched(NamedTuple):
    """Rank, number of ranks and ranks on this machine, as the MPI launcher tells them."""

    rank: int = 0
    n_ranks: int = 1
    n_local: int = 1


def launched() -> Launched:
    """What mpirun says about this process; a single rank where none started it."""
    for rank, size, local in _LAUNCHERS:
        if rank in os.environ:
            n_ranks = int(os.environ.get(size, "1"))
            n_local = os.environ.get(local, "")
            return Launched(
                int(os.environ[rank]), n_ranks, int(n_local) if n_local.isdigit() else n_ranks
            )
    return Launched()


def cores_of_this_rank() -> int:
    """Cores this rank may use when the ranks of a machine share it evenly."""
    available = len(os.sched_getaffinity(0))
    # Open MPI and Slurm bind each rank to its share; MPICH's launcher lets all see every core.
    is_bound = "OMPI_COMM_WORLD_RANK" in os.environ or "SLURM_CPUS_PER_TASK" in os.environ
    return available if is_bound else max(1, available // launched().n_local)


def share_cores(threads: int) -> int:
    """Tell the numerical libraries, before they are loaded, how many threads are this rank's.

    0 stands for this rank's share of the cores. Returns the number of threads.
    """
    wanted = threads or cores_of_this_rank()
    # Numba refuses another number once its threads run.
    if "numba" not in sys.modules:
        for name in ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
            if threads:
                os.environ[name] = str(threads)
            else:
                os.environ.setdefault(name, str(wanted))
    return wanted


def memory_of_this_rank() -> int:
    """Bytes this rank may plan with: its share of what is free, within the limits set for it."""
    return min(_memory_limits(), default=0)


def _memory_limits() -> Iterator[int]:
    n_local = launched().n_local
    available = _kilobytes(Path("/proc/meminfo"), "MemAvailable:")
    if available:
        yield int(_MEMORY_SHARE * available * 1024 / n_local)
    group = _number(Path("/sys/fs/cgroup/memory.max"))
    used = _number(Path("/sys/fs/cgroup/memory.current"))
    if group:
        yield max(1, int(_MEMORY_SHARE * (group - used) / n_local))
    addresses, _ = resource.getrlimit(resource.RLIMIT_AS)
    if addresses != resource.RLIM_INFINITY:
        taken = _kilobytes(Path("/proc/self/status"), "VmSize:") * 1024
        yield max(1, int(_ADDRESS_SHARE * (addresses - taken)))


def _kilobytes(path: Path, name: str) -> int:
    """The value of a line such as "VmSize: 1234 kB"; 0 where the file or the line is absent."""
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(name)), 0)


def _number(path: Path) -> int:
    """The number a file holds; 0 where it is absent or holds a word such as "max"."""
    try:
        text = path.read_text(encoding="ascii").strip()
    except OSError:
        return 0
    return int(text) if text.isdigit() else 0
