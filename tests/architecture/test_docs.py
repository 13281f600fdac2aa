# SPDX-License-Identifier: GPL-3.0-or-later
"""What the documents name exists: files, programs, options, parameters and pictures."""

from __future__ import annotations

import importlib
import pkgutil
import re
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, Iterator, Set

import pytest

from cryoralib_plugin import cli, contract
from cryoralib_plugin._arguments import flag_of
from cryoralib_plugin.contract._param import iter_params

REPOSITORY = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted(
    [*(REPOSITORY / "docs").glob("*.md"), REPOSITORY / "README.rst", REPOSITORY / "CONTRIBUTING.md"]
)
OF_OTHER_PROGRAMS = {
    "--devel", "--grep", "--show", "--ntasks", "--cpus-per-task", "--tool",
}  # fmt: skip
OF_ALL_PROGRAMS = {"--help", "--config", "--print-config", "--version", "--output", "--ranks"}


def options_of_programs() -> Set[str]:
    found = set(OF_ALL_PROGRAMS)
    for config in _configs():
        for _, _, name, declared in iter_params(config):
            found.add(flag_of(name))
            if declared.kind is bool:
                found.add("--no-" + flag_of(name)[2:])
    return found


def _configs() -> Iterator[Any]:
    """The parameters of every program: the classes of contract/ that name one."""
    for module in pkgutil.iter_modules(contract.__path__, contract.__name__ + "."):
        for found in vars(importlib.import_module(module.name)).values():
            if is_dataclass(found) and found.__module__ == module.name:
                if hasattr(found, "program"):
                    yield found


def options_of_benchmarks() -> Set[str]:
    texts = (path.read_text(encoding="utf-8") for path in (REPOSITORY / "benchmarks").glob("*.py"))
    return {
        option for text in texts for option in re.findall(r'add_argument\(\s*"(--[\w-]+)"', text)
    }


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_files_that_a_document_names_exist(path):
    text = path.read_text(encoding="utf-8")
    named = re.findall(r"`?\b((?:tests|benchmarks|docs|cryoralib_plugin)/[\w./-]*\w)", text)
    named += [f"docs/{link}" for link in re.findall(r"\]\(((?:images/)?[\w./-]+)\)", text)]
    missing = sorted({name for name in named if not (REPOSITORY / name.split("::")[0]).exists()})
    assert not missing
    tests = {test.name for test in (REPOSITORY / "tests").rglob("test_*.py")}
    assert not set(re.findall(r"\btest_\w+\.py", text)) - tests


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_programs_and_options_that_a_document_names_exist(path):
    text = path.read_text(encoding="utf-8")
    programs = set(re.findall(r"-m cryoralib_plugin (?!PROGRAM\b)(\w+)", text))
    assert not programs - set(cli.PROGRAMS)
    options = set(re.findall(r"(?<![\w-])--[a-z][\w-]+", text))
    known = options_of_programs() | options_of_benchmarks() | OF_OTHER_PROGRAMS
    assert not options - known


def test_every_program_with_parameters_is_known_to_this_test():
    programs = {config.program for config in _configs()}
    assert {"mra", "rfa", "simulate"} <= programs <= set(cli.PROGRAMS)
