# SPDX-License-Identifier: GPL-3.0-or-later
"""CUDA's libraries from PyPI wheels, where the machine has no CUDA toolkit."""

from __future__ import annotations

import ctypes
import importlib.util
from pathlib import Path
from typing import List

# In the order they need each other. CuPy asks for them by name, and finds those already loaded.
_LIBRARIES = ("libcudart", "libnvrtc", "libnvJitLink", "libcublasLt", "libcublas", "libcufft")


def load_cuda_libraries() -> List[Path]:
    """Load the libraries that NVIDIA's wheels brought; call it before CuPy is first imported.

    CuPy 13 looks for the system's libraries only. Without such wheels nothing is done, and with a
    toolkit beside them either serves. Returns what was loaded.
    """
    found = importlib.util.find_spec("nvidia")
    if found is None or found.submodule_search_locations is None:
        return []
    loaded = []
    for name in _LIBRARIES:
        for folder in found.submodule_search_locations:
            for path in sorted(Path(folder).glob(f"*/lib/{name}.so.*")):
                try:
                    ctypes.CDLL(str(path))
                except OSError:
                    # Of another CUDA version, without its companions; CuPy says what it lacks.
                    continue
                loaded.append(path)
    return loaded
