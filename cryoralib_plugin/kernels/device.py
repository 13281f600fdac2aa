# SPDX-License-Identifier: GPL-3.0-or-later
"""The device a program works on: opened once from the configuration, then carried by its arrays."""

from __future__ import annotations

import os
from dataclasses import fields, is_dataclass, replace
from typing import Any, Callable, Optional, Protocol, Sequence

import numpy as np

from cryoralib_plugin.kernels._cuda_libraries import load_cuda_libraries

_INSTALL_HINT = (
    "install CuPy for your CUDA version (pip install cupy-cuda12x, or cupy-cuda13x) or choose the "
    "CPU backend"
)


class DeviceError(RuntimeError):
    """A device that was asked for cannot be used; the message says why and what to do."""


class OutOfMemory(MemoryError):
    """The device has no room left; programs halve their batch and go on."""


class Device(Protocol):
    """Where arrays live and how they get there."""

    kind: str
    name: str

    def to_device(self, value: Any) -> Any:
        """Return an array, or a dataclass of arrays, on this device."""

    def to_host(self, value: Any) -> Any:
        """Return an array, or a dataclass of arrays, as NumPy arrays."""

    def synchronize(self) -> None:
        """Wait until all work given to the device is done."""

    def free_bytes(self) -> int:
        """Return the memory this process may still take, bytes."""


class CpuDevice:
    """The host itself: arrays are NumPy's and never move."""

    kind = "cpu"
    name = "CPU"

    def to_device(self, value: Any) -> Any:
        """Return the arrays as NumPy arrays, without a copy where they are ones already."""
        return _map_arrays(np.asarray, value)

    def to_host(self, value: Any) -> Any:
        """Return the arrays as they are."""
        return value

    def synchronize(self) -> None:
        """Return at once: nothing runs behind the caller's back."""

    def free_bytes(self) -> int:
        """Return the host's available memory, bytes."""
        return int(os.sysconf("SC_AVPHYS_PAGES")) * int(os.sysconf("SC_PAGE_SIZE"))


class CudaDevice:
    """One CUDA device; all arrays are CuPy's."""

    kind = "cuda"

    def __init__(self, ordinal: int) -> None:
        import cupy

        self._cupy = cupy
        self.ordinal = ordinal
        cupy.cuda.Device(ordinal).use()
        properties = cupy.cuda.runtime.getDeviceProperties(ordinal)
        self.name = f"GPU {ordinal}: {properties['name'].decode()}"

    def to_device(self, value: Any) -> Any:
        """Return the arrays as CuPy arrays on this device."""
        try:
            return _map_arrays(self._cupy.asarray, value)
        except self._cupy.cuda.memory.OutOfMemoryError as error:
            raise OutOfMemory(f"{self.name} has no room left: {error}") from error

    def to_host(self, value: Any) -> Any:
        """Return the arrays as NumPy arrays; those that live on the host already stay."""
        return _map_arrays(self._cupy.asnumpy, value)

    def synchronize(self) -> None:
        """Wait until all work given to the device is done."""
        self._cupy.cuda.get_current_stream().synchronize()

    def free_bytes(self) -> int:
        """Return the device's free memory together with what CuPy's pool can reuse, bytes."""
        free, _ = self._cupy.cuda.runtime.memGetInfo()
        return int(free) + int(self._cupy.get_default_memory_pool().free_bytes())


def _map_arrays(convert: Callable[[Any], Any], value: Any) -> Any:
    """Apply ``convert`` to an array or to every array field of a dataclass, nested ones too."""
    if is_dataclass(value) and not isinstance(value, type):
        parts = {field.name: getattr(value, field.name) for field in fields(value)}
        changed = {
            name: _map_arrays(convert, part)
            for name, part in parts.items()
            if is_dataclass(part) or hasattr(part, "shape")
        }
        return replace(value, **changed)
    return convert(value)


def open_device(backend: str = "auto", gpu_ids: Sequence[int] = (), local_rank: int = 0) -> Device:
    """Return the device of this rank.

    Parameters
    ----------
    backend : "cpu"; "cuda", which fails where no GPU can be used; or "auto", a GPU where one can
        be used and the CPU otherwise.
    gpu_ids : ordinals of the GPUs this job may use; all of the machine's by default.
    local_rank : this rank's number on its machine. Rank i takes GPU i; with "auto" the ranks
        beyond the number of GPUs work on the CPU, with "cuda" they share GPUs in turn.

    Raises
    ------
    DeviceError
        If a GPU is asked for and cannot be used, in words.
    """
    if backend not in ("auto", "cpu", "cuda"):
        raise DeviceError(f'backend must be "auto", "cpu" or "cuda", but it is "{backend}"')
    if backend == "cpu":
        return CpuDevice()
    n_gpus, reason = _usable_gpus()
    wanted = list(gpu_ids) if gpu_ids else list(range(n_gpus or 0))
    absent = [ordinal for ordinal in wanted if not 0 <= ordinal < n_gpus]
    if n_gpus and absent:
        raise DeviceError(
            f"GPU {absent[0]} is asked for, but this machine has GPUs 0 to {n_gpus - 1}: correct "
            "the list of GPUs"
        )
    if not n_gpus:
        if backend == "auto":
            return CpuDevice()
        raise DeviceError(f"a GPU is asked for, but none can be used: {reason}")
    if backend == "auto" and local_rank >= len(wanted):
        return CpuDevice()
    return CudaDevice(wanted[local_rank % len(wanted)])


def _usable_gpus() -> tuple[int, Optional[str]]:
    """Return the number of GPUs and, where it is 0, why."""
    load_cuda_libraries()
    try:
        import cupy
    except ImportError as error:
        return 0, f"CuPy cannot be imported ({error}); {_INSTALL_HINT}"
    try:
        return int(cupy.cuda.runtime.getDeviceCount()), "this machine has no GPU"
    except cupy.cuda.runtime.CUDARuntimeError as error:
        return 0, f"the CUDA driver does not answer ({error}); install or update NVIDIA's driver"
