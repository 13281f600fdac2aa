# SPDX-License-Identifier: GPL-3.0-or-later
"""What this machine gives to this rank: its number, its cores, a folder for compiled kernels."""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

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


def keep_compiled_kernels() -> Path:
    """Let Numba keep what it compiles in a folder that belongs to these very sources.

    Numba notices a change in the file of a function, but not in the files of the functions it
    calls: after an update, kernels of two versions would run together. ``NUMBA_CACHE_DIR``, where
    it is set, is left alone. Returns the folder.
    """
    digest = hashlib.sha256()
    for source in sorted((Path(__file__).parent / "kernels").rglob("*.py")):
        digest.update(source.read_bytes())
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    # Accounts of services have no home to write to.
    base = home if os.access(home if home.exists() else home.parent, os.W_OK) else None
    base = base or Path(tempfile.gettempdir()) / f"cache-{os.getuid()}"
    folder = base / "cryoralib" / "numba" / digest.hexdigest()[:16]
    return Path(os.environ.setdefault("NUMBA_CACHE_DIR", str(folder)))


def notice_of_first_use(concept: str) -> str:
    """What explains the silence while the kernels of a folder of kernels/ are compiled.

    Empty where Numba has kept them.
    """
    folder = keep_compiled_kernels()
    python = "py{}{}".format(*sys.version_info)
    # Numba's folders are called after the folder of the source, its files after the Python.
    if next(folder.glob(f"{concept}_*/*.{python}*.nbi"), None) is not None:
        return ""
    return (
        "first use of this version on this machine: its kernels are compiled once, which takes a "
        f"minute or two, and kept in {folder}"
    )
