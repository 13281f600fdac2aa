# SPDX-License-Identifier: GPL-3.0-or-later
"""The array decides which twin runs; CuPy stays out of a process that works on the CPU."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cryoralib_plugin.kernels import _compile
from cryoralib_plugin.kernels._dispatch import twin_of

PACKAGE = "cryoralib_plugin.kernels.transform2d"


def test_the_array_chooses_the_twin(backend):
    expected = "cpu" if backend.name == "cpu" else "cuda"
    twin = twin_of(PACKAGE, images=backend.put(np.zeros(3)), optional=None)
    assert twin.__name__ == f"{PACKAGE}.{expected}"


def test_arrays_on_two_devices_are_named(cuda_on_host):
    with pytest.raises(TypeError, match="images on cpu, sums on cuda"):
        twin_of(PACKAGE, images=np.zeros(3), sums=cuda_on_host.put(np.zeros(3)))


def test_the_cpu_never_imports_cupy():
    code = (
        "import sys, numpy as np\n"
        "sys.modules['cupy'] = None\n"
        "from cryoralib_plugin.geometry.rigid2d import Poses2D\n"
        "from cryoralib_plugin.kernels.transform2d import transform_images\n"
        "from cryoralib_plugin.kernels.class_sums import ClassSums\n"
        "from cryoralib_plugin.kernels.device import open_device\n"
        "ClassSums.zeros(2, 8, open_device('auto'))\n"
        "transform_images(np.zeros((1, 8, 8), 'f4'), Poses2D.identity(1))\n"
    )
    root = Path(_compile.include_folder()).parents[2]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root)


def test_messages_of_the_compiler_name_the_file():
    text = _compile.source_text(PACKAGE, "transform2d")
    assert text.startswith('#line 1 "') and "kernels/transform2d/transform2d.cu" in text[:300]


def test_a_kernel_is_compiled_once_for_a_device(cuda_on_host):
    one = _compile.kernel(PACKAGE, "transform2d", "transform_images", exact=True)
    assert _compile.kernel(PACKAGE, "transform2d", "transform_images", exact=True) is one


def test_blocks_cover_every_item_beyond_32_bits():
    assert _compile.blocks_for(1, 256) == (1,)
    assert _compile.blocks_for(257, 256) == (2,)
    assert _compile.blocks_for(2**33 + 1, 256) == (2**25 + 1,)
