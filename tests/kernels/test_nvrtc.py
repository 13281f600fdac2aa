# SPDX-License-Identifier: GPL-3.0-or-later
"""NVIDIA's own compiler takes every kernel, from Volta to Blackwell; no GPU is needed for that."""

from __future__ import annotations

import ctypes
import re
from importlib.util import find_spec
from pathlib import Path

import pytest

import cryoralib_plugin
from cryoralib_plugin.kernels import _compile
from cryoralib_plugin.kernels.ring_match import _cuda_fast
from cryoralib_plugin.kernels.ring_match._cuda_tables import LONGEST_RING

# Template arguments: the shortest, the usual and the longest ring.
_LENGTHS = (8, 256, LONGEST_RING)
INSTANCES = {
    "resample_polar": ["<float>", "<double>"],
    "ring_spectra": [f"<{length}, {_cuda_fast._TRANSFORMS[length]}>" for length in _LENGTHS],
    "peak_heights": [f"<{length}, {_cuda_fast._COLUMNS[length]}>" for length in _LENGTHS],
    "angle_peaks": [f"<{length}>" for length in _LENGTHS],
}
KERNELS = Path(cryoralib_plugin.__file__).parent / "kernels"
SOURCES = sorted(KERNELS.glob("*/*.cu"))


def _wheel_folder(name: str) -> Path:
    spec = find_spec("nvidia")
    for folder in spec.submodule_search_locations if spec else ():
        if (Path(folder) / name).is_dir():
            return Path(folder) / name
    pytest.skip(f"nvidia-{name.replace('_', '-')}-cu12 is not installed")


@pytest.fixture(scope="module")
def nvrtc() -> ctypes.CDLL:
    folder = _wheel_folder("cuda_nvrtc") / "lib"
    # The compiler opens its built-ins by name: they must be in the process before.
    ctypes.CDLL(str(next(folder.glob("libnvrtc-builtins.so*"))), mode=ctypes.RTLD_GLOBAL)
    return ctypes.CDLL(str(next(folder.glob("libnvrtc.so*"))))


def _compile_with(nvrtc: ctypes.CDLL, text: str, options: list[str]) -> tuple[int, str]:
    """Return NVRTC's result code and its log."""
    program = ctypes.c_void_p()
    found = re.findall(r"__global__ void (?:__launch_bounds__\(.*?\) )?(\w+)\(", text)
    assert len(found) == text.count("__global__")
    names = [(name + part).encode() for name in found for part in INSTANCES.get(name, [""])]
    nvrtc.nvrtcCreateProgram(ctypes.byref(program), text.encode(), b"kernel.cu", 0, None, None)
    for name in names:
        nvrtc.nvrtcAddNameExpression(program, name)
    encoded = [option.encode() for option in options]
    result = nvrtc.nvrtcCompileProgram(
        program, len(encoded), (ctypes.c_char_p * len(encoded))(*encoded)
    )
    size = ctypes.c_size_t()
    nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetProgramLog(program, log)
    if result == 0:
        nvrtc.nvrtcGetCUBINSize(program, ctypes.byref(size))
        assert size.value > 0
    nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
    return result, log.value.decode()


def test_every_cuda_twin_has_a_source():
    assert {path.parent.name for path in SOURCES} == {
        path.parent.name for path in KERNELS.glob("*/cuda.py")
    }


@pytest.mark.parametrize("architecture", [70, 80, 90, 100])
@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_kernel_compiles(nvrtc, source, architecture):
    package = f"cryoralib_plugin.kernels.{source.parent.name}"
    headers = _wheel_folder("cuda_runtime") / "include"
    for options in (_compile._EXACT, _compile._FUSED):
        result, log = _compile_with(
            nvrtc,
            _compile.source_text(package, source.stem),
            [
                *options,
                f"--gpu-architecture=sm_{architecture}",
                f"-I{_compile.include_folder()}",
                f"-I{headers}",
            ],
        )
        assert result == 0, log
        assert "): warning" not in log, log


def test_a_broken_kernel_is_refused(nvrtc):
    result, log = _compile_with(nvrtc, "__global__ void broken(float* x) { x[0] = y; }", [])
    assert result != 0 and "undefined" in log
