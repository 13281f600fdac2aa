# SPDX-License-Identifier: GPL-3.0-or-later
"""What a `ulimit -v` or a container leaves is what a cache may plan with."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from cryoralib_plugin.io import memory_limit
from cryoralib_plugin.io.memory_limit import free_memory_bytes

REPOSITORY = Path(__file__).resolve().parents[2]


def test_it_lies_below_the_memory_of_the_machine():
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert 0 < free_memory_bytes() <= machine


def test_an_address_space_limit_counts():
    code = (
        f"import sys, resource; sys.path.insert(0, {str(REPOSITORY)!r})\n"
        "from cryoralib_plugin.io.memory_limit import free_memory_bytes\n"
        "resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))\n"
        "print(free_memory_bytes())"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert 0 < int(ended.stdout) < 1 << 30, ended.stderr


def test_a_container_counts(tmp_path, monkeypatch):
    (tmp_path / "limit").write_text("5000000\n")
    (tmp_path / "used").write_text("2000000\n")
    monkeypatch.setattr(memory_limit, "_CGROUP_LIMITS", ((tmp_path / "limit", tmp_path / "used"),))
    assert free_memory_bytes() == 3_000_000
    (tmp_path / "limit").write_text("max\n")
    assert free_memory_bytes() > 3_000_000
