# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever goes wrong is said in one line, noted in status.json and ends every rank."""

from __future__ import annotations

import errno
import json

import pytest

from cryoralib_plugin import cli
from cryoralib_plugin.contract._param import ConfigError
from cryoralib_plugin.contract.results import ResultPaths
from cryoralib_plugin.io.run_files import RunFiles


class Ranks:
    """A communicator that notes how it is ended."""

    def __init__(self, rank=0, size=1):
        self.rank, self.size, self.code = rank, size, None

    def abort(self, code):
        self.code = code


@pytest.fixture
def failing(monkeypatch):
    """Makes the program `mra` raise, with a session filled as the test likes."""

    def make(error, **fields):
        def start(words, session):
            for name, value in fields.items():
                setattr(session, name, value)
            raise error

        monkeypatch.setitem(cli.PROGRAMS, "mra", cli.Program("fails", start))
        monkeypatch.setattr(cli, "_SECONDS_FOR_THE_ROOT", 0.0)
        return cli.main(["mra"])

    return make


@pytest.mark.parametrize(
    "error, said",
    [
        (ConfigError("n_classes must be at least 1"), "n_classes must be at least 1"),
        (FileNotFoundError("particle file a.star does not exist"), "a.star does not exist"),
        (OSError(errno.ENOSPC, "No space left on device", "run/x.mrcs"), "run/x.mrcs: the disk"),
        (OSError(errno.EACCES, "cannot write to the run directory /r"), "cannot write to the run"),
        (MemoryError("67 GiB"), "not enough memory (67 GiB): use --cache disk"),
        (ModuleNotFoundError("no", name="numba"), "numba is not installed in this Python"),
        (KeyError("surprise"), "unexpected KeyError: 'surprise'"),
        (KeyboardInterrupt(), "interrupted"),
    ],
)
def test_an_error_is_one_line_without_a_traceback(failing, capsys, error, said):
    assert failing(error) == (130 if isinstance(error, KeyboardInterrupt) else 1)
    text = capsys.readouterr().err
    assert text.startswith("error: ") and said in text
    assert "Traceback" not in text and len(text.splitlines()) == 1


def test_the_status_file_tells_why(failing, tmp_path):
    files = RunFiles(ResultPaths(tmp_path))
    failing(ValueError("stack s.mrcs is truncated"), files=files)
    status = json.loads(files.paths.status_json.read_text())
    assert (status["state"], status["message"]) == ("failed", "stack s.mrcs is truncated")


def test_another_rank_is_named_and_ends_all(failing, capsys, tmp_path):
    ranks = Ranks(rank=2, size=3)
    failing(ValueError("no such GPU"), comm=ranks)
    assert capsys.readouterr().err == "error on rank 2: no such GPU\n"
    assert ranks.code == 1


def test_a_directory_that_vanished_does_not_hide_the_error(failing, capsys, tmp_path):
    files = RunFiles(ResultPaths(tmp_path / "gone"))
    failing(ValueError("the first thing"), files=files)
    text = capsys.readouterr().err
    assert text.startswith("error: the first thing\n")
    assert "status.json could not be written" in text
