# SPDX-License-Identifier: GPL-3.0-or-later
"""Opening a device: what is asked for is what is used, or the refusal says why."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from cryoralib_plugin.arrays import device_of
from cryoralib_plugin.geometry.rigid2d import Poses2D
from cryoralib_plugin.kernels.device import CpuDevice, DeviceError, OutOfMemory, open_device


@dataclass(frozen=True)
class _Mixed:
    poses: Poses2D
    table: Any
    name: str


def _mixed() -> _Mixed:
    return _Mixed(Poses2D.identity(3), np.arange(4.0), "kept")


def test_dataclasses_travel_whole(backend):
    there = backend.device.to_device(_mixed())
    place = device_of(psi_deg=there.poses.psi_deg, mirror=there.poses.mirror, table=there.table)
    assert place == backend.device.kind and there.name == "kept"
    back = backend.device.to_host(there)
    assert device_of(shift_px=back.poses.shift_px, table=back.table) == "cpu"
    np.testing.assert_array_equal(back.table, np.arange(4.0))
    backend.device.synchronize()
    assert backend.device.free_bytes() > 0


def test_cpu_arrays_are_not_copied():
    values = np.arange(5)
    assert CpuDevice().to_device(values) is values


def test_without_cupy_auto_is_the_cpu_and_cuda_is_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert open_device("auto").kind == "cpu"
    with pytest.raises(DeviceError, match="CuPy cannot be imported.*pip install cupy-cuda12x"):
        open_device("cuda")


def _stand_in(monkeypatch, count) -> None:
    cupy = sys.modules["cupy"]
    monkeypatch.setattr(cupy.cuda.runtime, "getDeviceCount", count)


def test_ranks_take_gpus_by_their_number_on_the_machine(cuda_on_host, monkeypatch):
    _stand_in(monkeypatch, lambda: 3)
    assert [open_device("cuda", (), rank).ordinal for rank in range(5)] == [0, 1, 2, 0, 1]
    assert [open_device("auto", (2, 1), rank).kind for rank in range(3)] == ["cuda", "cuda", "cpu"]
    assert open_device("auto", (2, 1), 1).ordinal == 1
    assert open_device("cpu", (0,)).kind == "cpu"


def test_refusals_say_why(cuda_on_host, monkeypatch):
    with pytest.raises(DeviceError, match='"auto", "cpu" or "cuda", but it is "gpu"'):
        open_device("gpu")
    _stand_in(monkeypatch, lambda: 2)
    with pytest.raises(DeviceError, match="GPU 5 is asked for, but this machine has GPUs 0 to 1"):
        open_device("cuda", (0, 5))
    _stand_in(monkeypatch, lambda: 0)
    with pytest.raises(DeviceError, match="none can be used: this machine has no GPU"):
        open_device("cuda")

    def no_driver() -> int:
        raise RuntimeError("insufficient driver")

    _stand_in(monkeypatch, no_driver)
    with pytest.raises(DeviceError, match="driver does not answer .insufficient driver"):
        open_device("cuda")
    assert open_device("auto").kind == "cpu"


def test_a_full_device_is_told_as_our_exception(cuda_on_host, monkeypatch):
    cupy = sys.modules["cupy"]

    def full(value: Any) -> Any:
        raise cupy.cuda.memory.OutOfMemoryError("no room")

    device = cuda_on_host.device
    monkeypatch.setattr(device, "_cupy", SimpleNamespace(asarray=full, cuda=cupy.cuda))
    with pytest.raises(OutOfMemory, match="CUDA on the host has no room left: no room"):
        device.to_device(np.zeros(3))
