# SPDX-License-Identifier: GPL-3.0-or-later
"""Both sides of the package import without the other's libraries, and importing does nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]

PREPARE = """
import importlib, importlib.abc, logging, pkgutil, sys

class Blocked(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"{name} is blocked in this test", name=name)

sys.meta_path.insert(0, Blocked())

def modules_below(*folders):
    import cryoralib_plugin
    for folder in folders:
        package = importlib.import_module(f"cryoralib_plugin.{folder}")
        yield package.__name__
        for found in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            yield found.name
"""

ENGINE = """
rooms = [
    name for name in (
        "contract", "arrays", "geometry", "fourier", "optics", "kernels", "parallel", "io",
        "particles", "simulate", "align2d", "figures", "report", "doctor", "cli", "_arguments",
    )
]
names = []
for room in rooms:
    module = importlib.import_module(f"cryoralib_plugin.{room}")
    names.append(module.__name__)
    if hasattr(module, "__path__"):
        names += [
            found.name
            for found in pkgutil.walk_packages(module.__path__, module.__name__ + ".")
            if found.name.rpartition(".")[2] not in ("cuda", "_cuda")
        ]
handlers = list(logging.getLogger().handlers)
for name in names:
    importlib.import_module(name)
assert "mpi4py.MPI" not in sys.modules, "importing started MPI"
assert "cupy" not in sys.modules, "importing loaded CuPy"
assert logging.getLogger().handlers == handlers, "importing set up logging"
assert not logging.getLogger("cryoralib_plugin").handlers, "importing set up logging"
"""

SCIPION_SIDE = """
for name in modules_below("contract", "scipion", "protocols", "viewers", "figures"):
    importlib.import_module(name)
importlib.import_module("cryoralib_plugin.wizards")
from cryoralib_plugin import Plugin
"""


def run_apart(blocked, source, folder):
    """Import in another process, in an empty folder; its complaint, and what it left there."""
    code = f"BLOCKED = {set(blocked)!r}\n{PREPARE}\n{source}"
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return sorted(path.name for path in Path(folder).iterdir())


def test_the_package_itself_imports_nothing(tmp_path):
    source = """
before = set(sys.modules)
import cryoralib_plugin
assert cryoralib_plugin.__version__
loaded = {name.split(".")[0] for name in set(sys.modules) - before}
assert loaded == {"cryoralib_plugin"}, loaded
"""
    run_apart([], source, tmp_path)


def test_the_engine_imports_without_scipion_and_importing_leaves_nothing(tmp_path):
    left = run_apart(["pyworkflow", "pwem", "emtable", "mpi4py", "cupy"], ENGINE, tmp_path)
    assert left == []


def test_the_scipion_side_imports_without_the_engines_libraries(tmp_path):
    pytest.importorskip("pwem")
    run_apart(["cupy", "mpi4py", "numba", "pandas"], SCIPION_SIDE, tmp_path)


def test_the_command_line_is_parsed_without_any_library(tmp_path):
    source = """
from cryoralib_plugin.cli import main
assert main(["mra", "--n-classes", "0"]) == 1
assert main(["--version"]) == 0
"""
    run_apart(["numpy", "scipy", "pandas", "pyworkflow", "mpi4py", "numba"], source, tmp_path)
