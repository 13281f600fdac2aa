# SPDX-License-Identifier: GPL-3.0-or-later
"""A run takes about the memory that was forecast: a small one here, large ones in benchmarks/."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).resolve().parents[2] / "benchmarks" / "memory.py"

# What libraries keep of freed memory, about 100 MiB, is a large share of a small run;
# benchmarks/memory.py holds runs above 1 GiB to 15 %.
TOLERANCE = 0.4


@pytest.fixture
def benchmark():
    if not Path("/proc/self/clear_refs").is_file():
        pytest.skip("this system does not tell a process's largest resident memory")
    spec = importlib.util.spec_from_file_location("memory_benchmark", BENCHMARK)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_small_run_takes_what_was_forecast(benchmark, tmp_path, monkeypatch):
    shape = ("rfa", 1, 5000, 96, {})
    monkeypatch.setattr(benchmark, "SHAPES", {"small": shape})
    found = benchmark.measure("small", tmp_path)
    assert found["measured_gib"] > 0.17, "the images, which are kept in memory, alone take that"
    assert found["ratio"] == pytest.approx(1.0, abs=TOLERANCE), found
