# SPDX-License-Identifier: GPL-3.0-or-later
"""Libraries that came as wheels are found by name once they are loaded by path."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

from cryoralib_plugin.kernels import _cuda_libraries

PROBE = """
import ctypes
from cryoralib_plugin.kernels._cuda_libraries import load_cuda_libraries
names = [path.name for path in load_cuda_libraries()]
nvrtc = ctypes.CDLL(next(name for name in names if name.startswith("libnvrtc")))
major, minor = ctypes.c_int(), ctypes.c_int()
assert nvrtc.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor)) == 0
assert major.value >= 12
"""


def test_nvrtc_of_a_wheel_is_found_by_name():
    if importlib.util.find_spec("nvidia") is None:
        pytest.skip("no CUDA wheels are installed")
    done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_nothing_is_done_without_wheels(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert _cuda_libraries.load_cuda_libraries() == []
