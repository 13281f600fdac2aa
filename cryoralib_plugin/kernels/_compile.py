# SPDX-License-Identifier: GPL-3.0-or-later
"""Compilation of the .cu files at run time, once for each device and instance."""

from __future__ import annotations

import sys
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Callable

# fmad off: a product and a sum round as NumPy and Numba round them, so that coordinates and
# interpolated values are those of the CPU twin to the bit.
_EXACT = ("--std=c++17", "--fmad=false")
_FUSED = ("--std=c++17", "--fmad=true")

Launch = Callable[..., None]


def kernel(package: str, name: str, instance: str, *, exact: bool = False) -> Launch:
    """Return one kernel of the current device, called as ``(grid, block, arguments)``.

    Parameters
    ----------
    package : dotted name of the kernel folder.
    name : file in that folder, without ``.cu``.
    instance : C++ name of the kernel, with template arguments where it has any.
    exact : forbid fused multiply-add, for results equal to the CPU twin's to the bit.
    """
    # Whoever holds device arrays has imported CuPy already.
    cupy = sys.modules["cupy"]
    return _compiled(package, name, instance, exact, int(cupy.cuda.Device().id))


@cache
def _compiled(package: str, name: str, instance: str, exact: bool, device: int) -> Launch:
    cupy: Any = sys.modules["cupy"]
    module = cupy.RawModule(
        code=source_text(package, name),
        options=(*(_EXACT if exact else _FUSED), f"-I{include_folder()}"),
        name_expressions=(instance,),
    )
    launch: Launch = module.get_function(instance)
    return launch


def source_text(package: str, name: str) -> str:
    """Return the text of a .cu file, led by a line directive so that messages name the file."""
    path = files(package) / f"{name}.cu"
    return f'#line 1 "{Path(str(path)).as_posix()}"\n{path.read_text(encoding="utf-8")}'


def include_folder() -> str:
    """Return the folder of ``common.cuh``."""
    return str(files("cryoralib_plugin.kernels") / "_cuda")


def blocks_for(n_threads: int, threads_per_block: int) -> tuple[int]:
    """Return the one-dimensional grid that gives every one of ``n_threads`` items a thread."""
    return (-(-int(n_threads) // threads_per_block),)
