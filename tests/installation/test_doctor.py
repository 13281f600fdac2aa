# SPDX-License-Identifier: GPL-3.0-or-later
"""The doctor sees what is missing, says what mends it and fails only where nothing can run."""

from __future__ import annotations

import os
import stat
import sys
from types import SimpleNamespace

import pytest

from cryoralib_plugin import doctor, system_packages


def fake_program(folder, name, text):
    """An executable shell script."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IEXEC)
    return path


@pytest.fixture
def elsewhere(monkeypatch, tmp_path):
    """A Python with no mpirun beside it, and a PATH that holds one folder."""
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin" / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def test_this_installation_can_run(capsys):
    assert doctor.main() == 0
    text = capsys.readouterr().out
    names = ("Python", "engine packages", "Scipion", "MPI", "CUDA driver", "CuPy", "Qt", "tkinter")
    assert all(name in text for name in names)
    assert "can run on the processor" in text


def test_ranks_are_really_started():
    found = doctor._mpi()
    if not os.path.exists(os.path.join(os.path.dirname(sys.executable), "mpirun")):
        pytest.skip("no mpirun beside this Python")
    assert found.is_well, found
    assert "2 ranks see each other" in found.seen


def test_an_mpirun_of_another_library_is_recognised(elsewhere):
    fake_program(elsewhere, "mpirun", "echo ranks=1; echo ranks=1")
    found = doctor._mpi()
    assert not found.is_well and not found.is_needed
    assert "starts 2 runs of their own" in found.seen
    assert "different MPI libraries" in found.mend and "pip install mpi4py mpich" in found.mend


def test_an_mpirun_that_fails_is_quoted(elsewhere):
    fake_program(elsewhere, "mpirun", "echo 'refusing to run as root' >&2; exit 1")
    assert "refusing to run as root" in doctor._mpi().seen


def test_no_mpirun_is_no_catastrophe(elsewhere):
    found = doctor._mpi()
    assert (found.is_well, found.is_needed) == (False, False)
    assert "no mpirun" in found.seen


def test_another_python_is_refused(monkeypatch, capsys):
    monkeypatch.setattr(sys, "version_info", (3, 13, 0))
    found = doctor._python()
    assert not found.is_well and found.is_needed
    assert "3.9 to 3.12" in found.mend
    monkeypatch.setattr(doctor, "diagnose", lambda: [found])
    assert doctor.main() == 1
    assert "FAIL  Python" in capsys.readouterr().out


def test_missing_qt_libraries_are_named_with_their_packages(monkeypatch, tmp_path):
    spec = SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: spec)
    output = "libxcb-icccm.so.4 => not found\nlibc.so.6 => /lib/libc.so.6"
    monkeypatch.setattr(doctor, "_run", lambda command: (0, output, ""))
    found = doctor._qt()
    assert not found.is_well and "libxcb-icccm.so.4" in found.seen
    assert "apt-get install -y libxcb-icccm4 libxcb-keysyms1" in found.mend


def test_a_cache_folder_that_cannot_be_written_is_named(monkeypatch, tmp_path):
    # Root may write anywhere, but not below a file.
    (tmp_path / "file").touch()
    monkeypatch.setenv("CUPY_CACHE_DIR", str(tmp_path / "file" / "kernels"))
    found = doctor._cuda_cache()
    assert not found.is_well
    assert "file/kernels" in found.seen and "CUPY_CACHE_DIR" in found.mend


def test_missing_headers_are_recognised(monkeypatch):
    complaint = 'catastrophic error: cannot open source file "cuda_fp16.h"'
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(doctor, "_run", lambda command: (1, "", complaint))
    found = doctor._cupy()
    assert not found.is_well and "nvidia-cuda-runtime-cu12" in found.mend


def test_what_apt_must_supply_is_one_line(monkeypatch):
    item = system_packages.SystemPackage
    listed = [item("g++", "tests", False, True), item("libxcb-icccm4", "Qt", False, False)]
    monkeypatch.setattr(system_packages, "system_packages", lambda: listed)
    text = system_packages.complaint()
    assert "missing: g++ (tests)" in text and "recommended: libxcb-icccm4 (Qt)" in text
    assert "install with: sudo apt-get install -y g++ libxcb-icccm4" in text.splitlines()
    assert system_packages.main() == 1
    listed.pop(0)
    assert system_packages.main() == 0
