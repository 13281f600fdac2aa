# SPDX-License-Identifier: GPL-3.0-or-later
"""What is installed, and what is refused in words before anything is."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import cryoralib_plugin
from cryoralib_plugin import doctor
from cryoralib_plugin.scipion.launch import engine_arguments

REPOSITORY = Path(__file__).resolve().parents[2]


def make(*words):
    return subprocess.run(["make", *words], cwd=REPOSITORY, capture_output=True, text=True)


def fake_python(folder, version):
    """A Python that says it is of another version; else it is this one."""
    path = folder / "python-other"
    patch = f"import sys; sys.version_info = {version!r}; exec(sys.argv.pop(2))"
    path.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{patch}" "$@"\n')
    path.chmod(0o755)
    return path


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.parametrize("version", [(3, 13, 0), (3, 8, 0)])
def test_make_refuses_another_python_in_words(tmp_path, version):
    done = make("check", f"PYTHON={fake_python(tmp_path, version)}")
    assert done.returncode != 0
    said = done.stdout + done.stderr
    assert f"is Python {version[0]}.{version[1]}" in said and "needs Python 3.9 to 3.12" in said
    assert "PYTHON=python3.11" in said


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_names_a_python_that_is_absent():
    done = make("check", "PYTHON=python-nowhere")
    assert done.returncode != 0 and "python-nowhere was not found" in done.stdout


def test_setup_refuses_another_python_in_words():
    code = "import sys; sys.version_info = (3, 13, 0); exec(open('setup.py').read())"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert done.returncode != 0
    assert "needs Python 3.9 to 3.12" in done.stderr and "this is Python 3.13" in done.stderr


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """What an installation holds: file names, metadata, entry points, requirements."""
    pytest.importorskip("setuptools", minversion="64")
    folder = tmp_path_factory.mktemp("built")
    source = folder / "source"
    ignored = shutil.ignore_patterns(".git", ".venv", "__pycache__", "build", "*.egg-info")
    shutil.copytree(REPOSITORY, source, symlinks=True, ignore=ignored)
    (folder / "info").mkdir()
    commands = f"-q build_py -d {folder / 'package'} egg_info -e {folder / 'info'}".split()
    done = subprocess.run(
        [sys.executable, "setup.py", *commands], cwd=source, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    package = folder / "package"
    names = [p.relative_to(package).as_posix() for p in package.rglob("*") if p.is_file()]
    info = next((folder / "info").glob("*.egg-info"))
    files = ("PKG-INFO", "entry_points.txt", "requires.txt")
    return (names, *((info / name).read_text() for name in files))


def test_nothing_is_installed_at_the_top_but_the_package(built):
    names = built[0]
    assert {name.split("/")[0] for name in names} == {"cryoralib_plugin"}
    mapped = {"protocols": "protocols", "viewers": "viewers", "tests/scipion": "tests"}
    for folder, inside in mapped.items():
        for path in (REPOSITORY / folder).glob("*.py"):
            assert f"cryoralib_plugin/{inside}/{path.name}" in names


def test_every_source_and_data_file_is_installed(built):
    package = REPOSITORY / "cryoralib_plugin"
    kinds = (".py", ".cu", ".cuh", ".conf", ".png", ".template", ".html")
    for path in package.rglob("*"):
        if path.suffix in kinds and path.is_file() and "tests" not in path.parts:
            assert path.relative_to(REPOSITORY).as_posix() in built[0]


def test_scipion_finds_the_plugin_by_the_name_of_its_module(built):
    assert "[pyworkflow.plugin]\ncryoralib_plugin = cryoralib_plugin" in built[2]


def test_metadata_never_asks_for_numpy_2_and_bounds_python(built):
    metadata = built[1]
    assert re.search(r"^Requires-Python: .*<3\.13", metadata, re.MULTILINE)
    assert f"Version: {cryoralib_plugin.__version__}" in metadata
    wanted = built[3].splitlines()
    assert [line for line in wanted if line.startswith("numpy")]
    assert not [line for line in wanted if re.match(r"numpy.*[>=]=? ?2", line)]
    for extra in ("engine", "mpi", "cuda12", "cuda13", "test"):
        assert f"Provides-Extra: {extra}" in metadata


def test_the_engine_extra_holds_what_every_launch_imports(built):
    sections = re.split(r"^\[(\w+)\]$", "[base]\n" + built[3], flags=re.MULTILINE)[1:]
    names = {
        extra: re.findall(r"^[\w-]+", text, re.MULTILINE)
        for extra, text in zip(sections[::2], sections[1::2])
    }
    launched = engine_arguments(
        "mra", "config.json", n_ranks=1, threads=1, use_gpu=False, resume=False
    )
    modules = re.findall(r"-m (\w+)", launched)
    assert modules == ["mpi4py", "cryoralib_plugin"]
    assert {modules[0], *doctor._ENGINE} <= set(names["engine"])
    assert set(names["mpi"]) == {"mpich"}
    pytest.importorskip("pwem")
    from cryoralib_plugin.scipion.plugin import _BARE_REQUIREMENTS

    # What a checkout that is not installed says of itself.
    known = {name for extra in ("base", "engine", "mpi") for name in names[extra]}
    assert {name for name in known if not name.startswith("scipion")} == set(_BARE_REQUIREMENTS)


def test_the_licence_is_whole():
    text = (REPOSITORY / "LICENSE").read_text()
    assert "GNU GENERAL PUBLIC LICENSE" in text and "END OF TERMS AND CONDITIONS" in text
