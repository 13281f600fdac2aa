# SPDX-License-Identifier: GPL-3.0-or-later
"""A stand-in for CuPy on the host: NumPy arrays that claim to live on a device, g++ for NVRTC.

With it a kernel's ``cuda.py`` runs as it is, dispatch and compilation included. It is narrower
than CuPy on purpose: only functions that CuPy has, and host arrays are refused where CuPy
refuses them.
"""

from __future__ import annotations

from types import ModuleType, SimpleNamespace
from typing import Any, Callable

import numpy as np
import scipy.fft

from tests.kernels.host_cuda.compiler import HostKernel, compile_kernel

# Functions used by the package's device code; all of them exist in CuPy 13 and 14.
_FUNCTIONS = (
    "abs",
    "arange",
    "arcsin",
    "arctan2",
    "argmax",
    "argsort",
    "ascontiguousarray",
    "bincount",
    "broadcast_to",
    "ceil",
    "clip",
    "concatenate",
    "cos",
    "cumsum",
    "deg2rad",
    "diagonal",
    "divide",
    "empty",
    "empty_like",
    "exp",
    "eye",
    "flatnonzero",
    "floor",
    "full",
    "hypot",
    "isfinite",
    "linspace",
    "log",
    "logaddexp",
    "matmul",
    "max",
    "maximum",
    "mean",
    "minimum",
    "mod",
    "moveaxis",
    "nonzero",
    "ones",
    "ones_like",
    "rad2deg",
    "repeat",
    "rint",
    "round",
    "sin",
    "sort",
    "sqrt",
    "squeeze",
    "stack",
    "sum",
    "swapaxes",
    "take",
    "take_along_axis",
    "tanh",
    "tile",
    "transpose",
    "where",
    "zeros",
    "zeros_like",
)
_TYPES = (
    "bool_",
    "complex64",
    "complex128",
    "float32",
    "float64",
    "inf",
    "int32",
    "int64",
    "nan",
    "newaxis",
    "pi",
    "uint32",
    "uint64",
)
_FFT_FUNCTIONS = ("fft", "ifft", "rfft", "irfft", "rfft2", "irfft2", "fftfreq", "rfftfreq")


class HostDeviceArray(np.ndarray):
    """A NumPy array that dispatches as a device array and refuses to meet host arrays."""

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return self.__array_interface__

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        _refuse_host_arrays(inputs)
        plain = [np.asarray(value) if isinstance(value, np.ndarray) else value for value in inputs]
        if "out" in options:
            options["out"] = tuple(
                value.view(np.ndarray) if isinstance(value, np.ndarray) else value
                for value in options["out"]
            )
        result = getattr(ufunc, method)(*plain, **options)
        return self if method == "at" else on_device(result)

    def get(self) -> np.ndarray:
        return np.array(self)


def on_device(value: Any) -> Any:
    """Return arrays as device arrays; reductions give CuPy 0-d arrays, not scalars."""
    if isinstance(value, tuple):
        return tuple(on_device(part) for part in value)
    if isinstance(value, (np.ndarray, np.generic)):
        return np.asarray(value).view(HostDeviceArray)
    return value


def _refuse_host_arrays(values: Any) -> None:
    for value in values:
        if isinstance(value, (list, tuple)):
            _refuse_host_arrays(value)
        elif type(value) is np.ndarray and value.ndim:
            raise TypeError("a host array meets a device array: CuPy refuses that")


def _wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*arguments: Any, **options: Any) -> Any:
        _refuse_host_arrays([*arguments, *options.values()])
        return on_device(function(*arguments, **options))

    return call


class OutOfMemoryError(MemoryError):
    """CuPy's exception of this name."""


class RawModule:
    """CuPy's ``RawModule``, compiled by g++."""

    def __init__(self, code: str, options: tuple[str, ...], name_expressions: tuple[str, ...]):
        self._code = code
        self._folders = tuple(option[2:] for option in options if option.startswith("-I"))
        self._names = name_expressions

    def get_function(self, name: str) -> HostKernel:
        if name not in self._names:
            raise ValueError(f"{name} was not named for compilation")
        return compile_kernel(self._code, self._folders, name)


def make_module() -> ModuleType:
    """Return the stand-in, to be put where ``import cupy`` finds it."""
    module = ModuleType("cupy")
    for name in _FUNCTIONS:
        setattr(module, name, _wrapped(getattr(np, name)))
    for name in _TYPES:
        setattr(module, name, getattr(np, name))
    # Like CuPy's, and unlike NumPy's, these keep single precision.
    transforms = {name: _wrapped(getattr(scipy.fft, name)) for name in _FFT_FUNCTIONS}
    module.fft = SimpleNamespace(**transforms)
    module.linalg = SimpleNamespace(inv=_wrapped(np.linalg.inv), eigh=_wrapped(np.linalg.eigh))
    module.ndarray = HostDeviceArray
    module.asarray = lambda value, dtype=None: on_device(np.array(value, dtype=dtype))
    module.array = module.asarray
    module.asnumpy = lambda value: np.array(value)
    module.RawModule = RawModule
    module.get_default_memory_pool = lambda: SimpleNamespace(
        free_bytes=lambda: 0, free_all_blocks=lambda: None
    )
    module.cuda = SimpleNamespace(
        Device=lambda ordinal=0: SimpleNamespace(id=ordinal, use=lambda: None),
        get_current_stream=lambda: SimpleNamespace(synchronize=lambda: None),
        memory=SimpleNamespace(OutOfMemoryError=OutOfMemoryError),
        runtime=SimpleNamespace(
            CUDARuntimeError=RuntimeError,
            getDeviceCount=lambda: 1,
            getDeviceProperties=lambda ordinal: {"name": b"CUDA on the host"},
            memGetInfo=lambda: (2**30, 2**30),
        ),
    )
    return module
