# SPDX-License-Identifier: GPL-3.0-or-later
"""The cores of a machine are shared between its ranks."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from cryoralib_plugin import _machine

VARIABLES = [name for launcher in _machine._LAUNCHERS for name in launcher]


@pytest.fixture
def alone(monkeypatch):
    for name in [*VARIABLES, "SLURM_CPUS_PER_TASK"]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    return monkeypatch


def test_a_process_alone_has_all_cores(alone):
    assert _machine.launched() == (0, 1, 1)
    assert _machine.cores_of_this_rank() == 8


def test_ranks_of_mpich_share_the_cores(alone):
    for name, value in (("PMI_RANK", "5"), ("PMI_SIZE", "8"), ("MPI_LOCALNRANKS", "4")):
        alone.setenv(name, value)
    assert _machine.launched() == (5, 8, 4)
    assert _machine.cores_of_this_rank() == 2


def test_ranks_of_open_mpi_are_bound_to_their_share(alone):
    alone.setenv("OMPI_COMM_WORLD_RANK", "1")
    alone.setenv("OMPI_COMM_WORLD_SIZE", "4")
    assert _machine.launched() == (1, 4, 4)
    assert _machine.cores_of_this_rank() == 8


def test_threads_are_told_before_the_libraries_are_loaded(alone):
    alone.setitem(sys.modules, "numba", None)
    del sys.modules["numba"]
    for name in ("NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        # Set first, so that what stood there is put back after the test.
        alone.setenv(name, "1")
    del os.environ["NUMBA_NUM_THREADS"]
    assert _machine.share_cores(0) == 8
    assert (os.environ["NUMBA_NUM_THREADS"], os.environ["OMP_NUM_THREADS"]) == ("8", "1")
    assert _machine.share_cores(3) == 3
    assert (os.environ["NUMBA_NUM_THREADS"], os.environ["OMP_NUM_THREADS"]) == ("3", "3")


def test_compiled_kernels_belong_to_their_sources(monkeypatch, tmp_path):
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    package = tmp_path / "package"
    (package / "kernels").mkdir(parents=True)
    monkeypatch.setattr(_machine, "__file__", str(package / "_machine.py"))
    folders = set()
    for text in ("a = 1", "a = 2"):
        (package / "kernels" / "one.py").write_text(text)
        folders.add(_machine.keep_compiled_kernels())
        monkeypatch.delenv("NUMBA_CACHE_DIR")
    assert len(folders) == 2
    assert all(folder.is_relative_to(tmp_path / "cryoralib") for folder in folders)


def test_the_first_use_of_kernels_is_told(monkeypatch, tmp_path):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    assert "kept in " + str(tmp_path / "cache") in _machine.notice_of_first_use("ring_match")
    python = f"py{sys.version_info[0]}{sys.version_info[1]}"
    for name in (f"random_1a/cpu.f-1.{python}.nbi", "ring_match_2b/cpu.f-1.py27.nbi"):
        kept = tmp_path / "cache" / name
        kept.parent.mkdir(parents=True)
        kept.touch()
    assert "compiled once" in _machine.notice_of_first_use("ring_match")
    (tmp_path / "cache" / "ring_match_2b" / f"cpu.f-1.{python}.nbi").touch()
    assert _machine.notice_of_first_use("ring_match") == ""


def test_numba_keeps_kernels_where_the_notice_looks_for_them():
    from cryoralib_plugin.kernels.random import uniform

    uniform(1, 0, 0, np.arange(3), 1)
    folder = Path(os.environ["NUMBA_CACHE_DIR"])
    assert _machine.notice_of_first_use("random") == "", sorted(folder.iterdir())


def test_a_chosen_kernel_cache_is_left_alone(monkeypatch, tmp_path):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    assert _machine.keep_compiled_kernels() == tmp_path
