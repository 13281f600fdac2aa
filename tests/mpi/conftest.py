# SPDX-License-Identifier: GPL-3.0-or-later
"""Start this Python under the mpirun that belongs to it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Ranks:
    """Starts programs under mpirun, one thread a rank: tests run several ranks on few cores."""

    mpirun: str

    @property
    def environment(self) -> dict:
        threads = {"NUMBA_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        return {**os.environ, **threads, "PYTHONPATH": str(REPOSITORY)}

    def start(self, n_ranks: int, arguments: list, **options) -> subprocess.Popen:
        """Start `mpirun python -m mpi4py ARGUMENTS`; 0 ranks mean: without either."""
        words = [sys.executable, *map(str, arguments)]
        if n_ranks:
            launcher = [self.mpirun, "-n", str(n_ranks), sys.executable, "-m", "mpi4py"]
            words = [*launcher, *words[1:]]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(words, env=self.environment, **pipes, **options)

    def run(self, n_ranks: int, arguments: list, **options) -> subprocess.CompletedProcess:
        """Run the same to its end."""
        process = self.start(n_ranks, arguments, **options)
        try:
            out, error = process.communicate(timeout=180)
        finally:
            process.kill()
        return subprocess.CompletedProcess(process.args, process.returncode, out, error)


@pytest.fixture(scope="session")
def ranks() -> Ranks:
    """mpirun beside this Python, else the one in the path."""
    pytest.importorskip("mpi4py")
    beside = Path(sys.executable).parent / "mpirun"
    found = str(beside) if beside.is_file() else shutil.which("mpirun")
    if found is None:
        pytest.skip("there is no mpirun")
    return Ranks(found)
