# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules of docs/architecture.md that a reader of one file cannot see."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Iterator, List, Optional, Set, Tuple

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGE = "cryoralib_plugin"
LONGEST_FILE = 400

MATHS = {"contract", "arrays", "geometry", "fourier", "optics"}
FOUNDATION = MATHS | {"kernels", "parallel", "io"}

MAY_IMPORT = {
    "contract": set(),
    "arrays": set(),
    "geometry": {"contract", "arrays"},
    "fourier": {"contract", "arrays", "geometry"},
    "optics": {"contract", "arrays", "geometry", "fourier"},
    "kernels": MATHS,
    "parallel": {"contract"},
    "io": {"contract", "arrays"},
    "particles": FOUNDATION,
    "simulate": FOUNDATION | {"particles"},
    "align2d": FOUNDATION | {"particles"},
    "classify2d": FOUNDATION | {"particles", "align2d"},
    "refine3d": FOUNDATION | {"particles"},
    "figures": {"contract", "geometry"},
    "report": {"contract", "geometry", "fourier", "io", "figures"},
    "system_packages": set(),
    "doctor": {"_machine", "contract", "system_packages"},
    "_arguments": {"contract"},
    "_machine": set(),
    "_engines": FOUNDATION | {"particles", "align2d", "refine3d"},
    "scipion": {"contract"},
    "protocols": {"contract", "scipion"},
    "viewers": {"contract", "scipion", "figures", "protocols"},
    "wizards": {"contract", "scipion", "figures", "protocols"},
    "constants": set(),
    "bibtex": set(),
    # What Scipion looks up, and the composition root.
    "__init__": {"scipion"},
    "__main__": {"cli"},
}
"""Room to the other rooms it may import. The root of the package is open to all: the version."""

SCIPION_SIDE = {"scipion", "protocols", "viewers", "wizards"}

DOORS = {
    "cupy": {"kernels"},
    "cupyx": {"kernels"},
    "numba": {"kernels"},
    "mpi4py": {"parallel"},
    "pyworkflow": SCIPION_SIDE,
    "pwem": SCIPION_SIDE,
    "emtable": SCIPION_SIDE,
    "matplotlib": {"figures", "report", "viewers", "wizards"},
    "pandas": {
        "io", "particles", "align2d", "classify2d", "refine3d", "simulate", "analysis", "report",
    },
    "mrcfile": {"io"},
    "starfile": {"io"},
    "h5py": {"io"},
}  # fmt: skip
"""Library to the rooms that may import it; what is not named here is open to all."""

OPENS_FILES = {"io", "scipion", "cli", "_arguments", "doctor"}


def files_of(*folders: str, endings: Tuple[str, ...] = (".py",)) -> List[Path]:
    """Files below these folders of the repository; links are not followed twice."""
    found = []
    for folder in folders:
        for path in sorted((REPOSITORY / folder).rglob("*")):
            inside = path.relative_to(REPOSITORY)
            if path.suffix in endings and path.is_file() and not _is_linked(inside):
                found.append(inside)
    return found


def _is_linked(inside: Path) -> bool:
    return any((REPOSITORY / parent).is_symlink() for parent in [inside, *inside.parents][:-1])


def room_of(path: Path) -> str:
    """The folder of the package a file is in, or the file's own name at the package's root."""
    parts = path.with_suffix("").parts
    if parts[0] != PACKAGE:
        return parts[0]
    return parts[1]


def imports_of(path: Path) -> Iterator[Tuple[str, Optional[str], int]]:
    """Each import of a file as (library or our package, our room or None, line)."""
    here = list(path.with_suffix("").parts)
    if here[0] != PACKAGE:
        here.insert(0, PACKAGE)
    for node in ast.walk(ast.parse((REPOSITORY / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            names = [f"{module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] != PACKAGE:
                yield parts[0], None, node.lineno
            elif len(parts) > 1 and _is_room(parts[1]):
                yield PACKAGE, parts[1], node.lineno


def _is_room(name: str) -> bool:
    at_root = REPOSITORY / PACKAGE / name
    return at_root.is_dir() or at_root.with_suffix(".py").exists() or (REPOSITORY / name).is_dir()


SOURCES = files_of(PACKAGE, "protocols", "viewers")


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_a_room_imports_only_what_lies_below_it(path):
    room = room_of(path)
    if room == "cli":
        return
    assert room in MAY_IMPORT, f"{room} is a new room: say in MAY_IMPORT what it may import"
    wrong = [
        f"{path}:{line} imports {other}"
        for library, other, line in imports_of(path)
        if library == PACKAGE and other != room and other not in MAY_IMPORT[room]
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_libraries_come_in_through_their_doors(path):
    room = room_of(path)
    wrong = [
        f"{path}:{line} imports {library}"
        for library, other, line in imports_of(path)
        if other is None and room not in DOORS.get(library, {room})
    ]
    assert not wrong, "\n".join(wrong)


def test_contract_needs_the_standard_library_only():
    known = {"cryoralib_plugin", "__future__", "typing"} | _standard_library()
    wrong = {
        f"{path}:{line} imports {library}"
        for path in files_of(f"{PACKAGE}/contract")
        for library, _, line in imports_of(path)
        if library not in known
    }
    assert not wrong


def _standard_library() -> Set[str]:
    import sys

    named = getattr(sys, "stdlib_module_names", None)
    return set(named) if named else {
        "ast", "dataclasses", "difflib", "enum", "functools", "json", "math", "pathlib", "re",
    }  # fmt: skip


def test_only_parallel_mpi_opens_mpi4py():
    found = {path for path in SOURCES for library, _, _ in imports_of(path) if library == "mpi4py"}
    assert found <= {Path(PACKAGE) / "parallel" / "mpi.py"}


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_files_are_opened_and_arguments_read_at_their_doors_only(path):
    tree = ast.parse((REPOSITORY / path).read_text(encoding="utf-8"))
    wrong = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            if node.func.id == "print":
                wrong.append(f"{path}:{node.lineno} prints: use the module's logger")
            if node.func.id == "open" and room_of(path) not in OPENS_FILES:
                wrong.append(f"{path}:{node.lineno} opens a file: that is io's task")
        if isinstance(node, ast.Assert):
            wrong.append(f"{path}:{node.lineno} asserts: python -O strips it; raise an error")
        if isinstance(node, ast.Attribute) and node.attr == "argv" and path.name != "cli.py":
            wrong.append(f"{path}:{node.lineno} reads argv: only cli.py does")
        if isinstance(node, ast.ExceptHandler) and node.type is None:
            wrong.append(f"{path}:{node.lineno} catches everything: name the exception")
    assert not wrong, "\n".join(wrong)


WRITTEN = files_of(
    PACKAGE, "protocols", "viewers", "tests", "benchmarks", endings=(".py", ".cu", ".cuh")
)


@pytest.mark.parametrize("path", WRITTEN, ids=str)
def test_a_file_is_short_and_names_its_licence(path):
    lines = (REPOSITORY / path).read_text(encoding="utf-8").splitlines()
    assert len(lines) <= LONGEST_FILE, f"{path} has {len(lines)} lines; split it by verb"
    assert any("SPDX-License-Identifier: GPL-3.0-or-later" in line for line in lines[:3])


@pytest.mark.parametrize("path", [path for path in WRITTEN if path.suffix == ".py"], ids=str)
def test_a_file_is_python_3_9(path):
    tree = ast.parse((REPOSITORY / path).read_text(encoding="utf-8"), feature_version=(3, 9))
    assert not any(isinstance(node, getattr(ast, "Match", ())) for node in ast.walk(tree))


def test_there_is_no_utils():
    assert not [path for path in SOURCES if "util" in path.stem.lower()]
