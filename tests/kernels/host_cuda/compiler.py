# SPDX-License-Identifier: GPL-3.0-or-later
"""Compiles .cu text with g++ and launches its kernels on NumPy arrays, every thread a fiber."""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import numpy as np

HEADER = Path(__file__).with_name("cuda_on_host.h")
_GUARD_BYTES = 4096
_GUARD = 0xFF  # NaN as a float, -1 as an integer: whoever reads beyond an array notices
_DESCRIBE = """
namespace cuda_on_host {
template <class T> std::string describe() {
    if constexpr (std::is_pointer_v<T>) return "p" + describe<std::remove_pointer_t<T>>();
    using V = std::remove_cv_t<T>;
    std::string kind = std::is_floating_point_v<V> ? "f" : std::is_integral_v<V> ? "i" : "c";
    return kind + std::to_string(sizeof(V));
}
template <class... A> std::string signature(void (*)(A...)) {
    std::string all;
    ((all += describe<std::remove_cv_t<A>>() + " "), ...);
    return all;
}
}
"""


def has_compiler() -> bool:
    """Whether g++ is here."""
    return shutil.which("g++") is not None


class HostKernel:
    """A kernel that is called as CuPy's are: ``kernel(grid, block, arguments, shared_mem=0)``.

    Every launch is checked as a device would not: arguments against the C++ signature, sizes
    against CUDA's limits, writes beyond an array, and the order of threads and blocks, which must
    not change a bit of the result.
    """

    def __init__(self, library: ctypes.CDLL) -> None:
        self._launch = library.host_launch
        _name_shared_variables(library)
        library.host_signature.restype = ctypes.c_char_p
        self.signature = library.host_signature().decode().split()
        self.max_dynamic_shared_size_bytes = 48 * 1024

    def __call__(self, grid: tuple, block: tuple, arguments: tuple, *, shared_mem: int = 0) -> None:
        self._check_sizes(grid, block, shared_mem)
        self._check_arguments(arguments)
        forwards = [_Guarded(argument) for argument in arguments]
        backwards = [_Guarded(argument) for argument in arguments]
        for reverse, guarded in enumerate((forwards, backwards)):
            pointers = (ctypes.c_void_p * len(guarded))(*(g.address for g in guarded))
            self._launch(
                (ctypes.c_uint * 3)(*_three(grid)),
                (ctypes.c_uint * 3)(*_three(block)),
                ctypes.c_uint(shared_mem),
                ctypes.c_int(reverse),
                pointers,
            )
        for position, (one, other) in enumerate(zip(forwards, backwards)):
            if not (one.is_intact() and other.is_intact()):
                raise AssertionError(f"the kernel writes beyond argument {position}")
            if one.data() != other.data():
                raise AssertionError(
                    f"argument {position} depends on the order of threads: a barrier is missing"
                )
            one.copy_back()

    def _check_sizes(self, grid: tuple, block: tuple, shared_mem: int) -> None:
        x, y, z = _three(grid)
        if not (0 < x < 2**31 and 0 < y < 65536 and 0 < z < 65536):
            raise ValueError(f"a CUDA grid cannot be {grid}")
        if not 0 < int(np.prod(_three(block))) <= 1024:
            raise ValueError(f"a CUDA block cannot be {block}")
        if shared_mem > self.max_dynamic_shared_size_bytes:
            raise ValueError(f"{shared_mem} bytes of shared memory were not asked for")

    def _check_arguments(self, arguments: tuple) -> None:
        found = [_describe(argument) for argument in arguments]
        if found != self.signature:
            raise TypeError(f"the kernel takes {self.signature}, but was given {found}")


def _name_shared_variables(library: ctypes.CDLL) -> None:
    """Tell the library where its __shared__ variables lie: they are the statics of its kernel."""
    listing = subprocess.run(
        ["nm", "-S", library._name], check=True, capture_output=True, text=True
    ).stdout
    symbols = [line.split() for line in listing.splitlines() if len(line.split()) == 4]
    entry = next(int(place, 16) for place, _, _, name in symbols if name == "host_launch")
    base = ctypes.cast(library.host_launch, ctypes.c_void_p).value - entry
    for place, size, _, name in symbols:
        if name.startswith("_ZZ") and "host_signature" not in name:
            address = ctypes.c_void_p(base + int(place, 16))
            library.host_share(address, ctypes.c_size_t(int(size, 16)))


def _three(size: tuple) -> tuple[int, int, int]:
    return tuple([*(int(extent) for extent in size), 1, 1][:3])


def _describe(argument: object) -> str:
    kind = {"b": "i", "i": "i", "u": "i", "f": "f", "c": "c"}[argument.dtype.kind]
    if isinstance(argument, np.ndarray):
        if not argument.flags.c_contiguous:
            raise ValueError("a kernel takes contiguous arrays only")
        if not hasattr(argument, "__cuda_array_interface__"):
            raise TypeError("a kernel takes device arrays only")
        return f"p{kind}{argument.dtype.itemsize}"
    return f"{kind}{argument.dtype.itemsize}"


class _Guarded:
    """A copy of one argument with guard bytes on both sides, and a pointer to it."""

    def __init__(self, argument: object) -> None:
        self.target = argument
        size = argument.nbytes
        self.buffer = np.full(size + 2 * _GUARD_BYTES, _GUARD, dtype=np.uint8)
        self.inner = self.buffer[_GUARD_BYTES : _GUARD_BYTES + size]
        self.inner[:] = np.frombuffer(argument.tobytes(), dtype=np.uint8)
        pointer = self.inner.ctypes.data if size else self.buffer.ctypes.data
        if isinstance(argument, np.ndarray):
            self.cell = ctypes.c_void_p(pointer)
            self.address = ctypes.addressof(self.cell)
        else:
            self.address = pointer

    def is_intact(self) -> bool:
        outside = (self.buffer[:_GUARD_BYTES], self.buffer[_GUARD_BYTES + self.inner.size :])
        return all((part == _GUARD).all() for part in outside)

    def data(self) -> bytes:
        return self.inner.tobytes()

    def copy_back(self) -> None:
        if isinstance(self.target, np.ndarray) and self.inner.size:
            values = self.inner.view(self.target.dtype).reshape(self.target.shape)
            np.copyto(self.target.view(np.ndarray), values)


@cache
def compile_kernel(code: str, include_folders: tuple[str, ...], instance: str) -> HostKernel:
    """Return one instance of a kernel; libraries are kept between sessions by their text."""
    text = (
        f'#include "{HEADER}"\n#include <string>\n{_DESCRIBE}\n{code}\n'
        'extern "C" void host_launch(const unsigned* g, const unsigned* b, unsigned s, int r,'
        " void** v) {\n"
        f"    cuda_on_host::launch(&::{instance}, g, b, s, r, v);\n}}\n"
        'extern "C" void host_share(void* place, size_t size) {\n'
        "    cuda_on_host::static_shared.push_back({place, size});\n}\n"
        'extern "C" const char* host_signature() {\n'
        f"    static std::string text = cuda_on_host::signature(&::{instance});\n"
        "    return text.c_str();\n}\n"
    )
    key = hashlib.sha256(text.encode() + HEADER.read_bytes())
    for folder in include_folders:
        for header in sorted(Path(folder).glob("*.cuh")):
            key.update(header.read_bytes())
    cache = Path(tempfile.gettempdir()) / f"cryoralib_cuda_on_host_{os.getuid()}"
    cache.mkdir(mode=0o700, exist_ok=True)
    library = cache / f"{key.hexdigest()}.so"
    if not library.exists():
        source = library.with_suffix(f".{os.getpid()}.cpp")
        built = library.with_suffix(f".{os.getpid()}.so")
        source.write_text(text, encoding="utf-8")
        subprocess.run(
            [
                "g++",
                "-std=c++17",
                "-O2",
                "-ffp-contract=off",
                "-U_FORTIFY_SOURCE",
                "-shared",
                "-fPIC",
                "-w",
                *(f"-I{folder}" for folder in include_folders),
                str(source),
                "-o",
                str(built),
            ],
            check=True,
        )
        built.replace(library)
        source.unlink()
    return HostKernel(ctypes.CDLL(str(library)))
