# SPDX-License-Identifier: GPL-3.0-or-later
"""What all tests share: Scipion's environment, the data beside the repository, the GPU."""

from __future__ import annotations

import atexit
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Iterator

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


def _set_scipion_environment() -> None:
    """pyworkflow reads its variables when it is imported, so they are set before any test is."""
    from cryoralib_plugin._machine import keep_compiled_kernels
    from cryoralib_plugin.scipion.environment import scipion_environment

    keep_compiled_kernels()
    home = tempfile.mkdtemp(prefix="cryoralib_tests_")
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    os.environ.update(scipion_environment(Path(home), isolated=True))
    os.environ["MPLBACKEND"] = "Agg"
    # Children (protocols, mpirun) import this checkout even where it is not installed.
    earlier = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(REPOSITORY), *([earlier] if earlier else [])])


if str(REPOSITORY) not in sys.path:
    sys.path.insert(0, str(REPOSITORY))
_set_scipion_environment()


@lru_cache(maxsize=1)
def _has_cuda() -> bool:
    """Asked in another process: a failing driver must not leave anything behind in this one."""
    probe = "import cupy; raise SystemExit(0 if cupy.cuda.runtime.getDeviceCount() else 1)"
    found = subprocess.run([sys.executable, "-c", probe], capture_output=True, check=False)
    return found.returncode == 0


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip, visibly, what needs a CUDA device where there is none."""
    if not any(item.get_closest_marker("gpu") for item in items):
        return
    if _has_cuda():
        from cryoralib_plugin.kernels._cuda_libraries import load_cuda_libraries

        load_cuda_libraries()
    else:
        skip = pytest.mark.skip(reason="no CUDA device (or no CuPy)")
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(skip)


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """A program sets up logging; a test that runs one in this process leaves none behind."""
    package = logging.getLogger("cryoralib_plugin")
    handlers, level, raises = list(package.handlers), package.level, logging.raiseExceptions
    yield
    logging.raiseExceptions = raises
    for handler in set(package.handlers) - set(handlers):
        handler.close()
    package.handlers[:] = handlers
    package.setLevel(level)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Measured data and other programs' numbers, kept beside the repository, not in it."""
    folder = REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"the shared data are not here ({folder})")
    return folder


@pytest.fixture(params=["numpy", pytest.param("cupy", marks=pytest.mark.gpu)])
def xp(request: pytest.FixtureRequest):
    """The array module: one test body serves the host and the device."""
    return __import__(request.param)
