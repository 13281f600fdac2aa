# SPDX-License-Identifier: GPL-3.0-or-later
"""One test body for all backends: the CPU twin, the CUDA twin on the host, and a real GPU."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from cryoralib_plugin.kernels import _compile
from cryoralib_plugin.kernels.device import CpuDevice, CudaDevice
from tests.kernels.host_cuda.compiler import has_compiler
from tests.kernels.host_cuda.host_cupy import make_module


@dataclass(frozen=True)
class Backend:
    """Where a test body runs."""

    name: str
    device: Any

    def put(self, value: Any) -> Any:
        """Return an array, or dataclass of arrays, on the backend's device."""
        return self.device.to_device(value)

    def get(self, value: Any) -> Any:
        """Return an array, or dataclass of arrays, on the host."""
        moved = self.device.to_host(value)
        return np.asarray(moved) if hasattr(moved, "shape") else moved


@pytest.fixture
def cuda_on_host(monkeypatch: pytest.MonkeyPatch) -> Backend:
    """The CUDA twins with g++ in the place of NVRTC and fibers in the place of threads."""
    if not has_compiler():
        pytest.skip("no g++: the CUDA kernels cannot run on the host")
    monkeypatch.setitem(sys.modules, "cupy", make_module())
    _compile._compiled.cache_clear()
    yield Backend("cuda_on_host", CudaDevice(0))
    _compile._compiled.cache_clear()


@pytest.fixture(params=["cpu", "cuda_on_host", pytest.param("cuda", marks=pytest.mark.gpu)])
def backend(request: pytest.FixtureRequest) -> Backend:
    """Every backend in turn."""
    if request.param == "cpu":
        return Backend("cpu", CpuDevice())
    if request.param == "cuda_on_host":
        return request.getfixturevalue("cuda_on_host")
    return Backend("cuda", CudaDevice(0))


@pytest.fixture(params=["cuda_on_host", pytest.param("cuda", marks=pytest.mark.gpu)])
def device_backend(request: pytest.FixtureRequest) -> Backend:
    """The backends that run the CUDA twins."""
    if request.param == "cuda_on_host":
        return request.getfixturevalue("cuda_on_host")
    return Backend("cuda", CudaDevice(0))
