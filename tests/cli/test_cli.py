# SPDX-License-Identifier: GPL-3.0-or-later
"""What the command line says and refuses before any work begins."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from cryoralib_plugin import __version__, cli
from cryoralib_plugin._arguments import flag_of
from cryoralib_plugin.contract._codec import to_json
from cryoralib_plugin.contract._param import iter_params
from cryoralib_plugin.contract.align2d import (
    MultireferenceConfig,
    MultireferenceFiles,
    ReferenceFreeConfig,
)
from cryoralib_plugin.contract.reconstruct import ReconstructConfig
from cryoralib_plugin.contract.refine3d import Refine3DConfig
from cryoralib_plugin.contract.simulate import SimulateConfig
from cryoralib_plugin.scipion import demo

PROGRAMS = {
    "mra": MultireferenceConfig,
    "rfa": ReferenceFreeConfig,
    "refine3d": Refine3DConfig,
    "reconstruct": ReconstructConfig,
    "simulate": SimulateConfig,
}


def refusal(capsys, *words):
    """The complaint of a command line that must end with exit code 1."""
    assert cli.main(words) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    return captured.err[len("error: ") :].strip()


def bounded():
    """Every program, parameter and value just beyond a declared bound."""
    for program, config_class in PROGRAMS.items():
        for _, _, name, declared in iter_params(config_class):
            for bound, step in ((declared.minimum, -1), (declared.maximum, 1)):
                if bound is not None:
                    beyond = bound + step
                    text = str(int(beyond)) if declared.kind is int else repr(beyond)
                    yield pytest.param(program, name, declared, text, id=f"{program} {name} {text}")


@pytest.mark.parametrize("program, name, declared, text", list(bounded()))
def test_every_declared_bound_is_kept(capsys, program, name, declared, text):
    given = [] if program == "simulate" else ["--particles-file", "a.star"]
    said = refusal(capsys, program, *given, f"{flag_of(name)}={text}")
    assert f"{name} ({declared.label}) must be {declared.bounds_in_words}" in said
    assert declared.unit in said


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_lists_every_parameter(capsys, program):
    with pytest.raises(SystemExit) as stopped:
        cli.main([program, "--help"])
    assert stopped.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    for _, _, name, declared in iter_params(PROGRAMS[program]):
        assert flag_of(name) in text
        if declared.unit:
            assert f"[in {declared.unit};" in text


def test_the_overview_names_every_program(capsys):
    assert cli.main([]) == 0
    text = capsys.readouterr().out
    assert all(f"  {name} " in text for name in cli.PROGRAMS)


def test_the_version_is_the_packages(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"cryoralib {__version__}\n"


def test_a_misspelt_program_is_refused(capsys):
    assert refusal(capsys, "mar") == "unknown program: mar; did you mean mra?"


def test_a_misspelt_option_is_refused_and_its_value_passed_over(capsys):
    said = refusal(capsys, "mra", "--particles-file", "a.star", "--n-clases", "3")
    assert said == "unknown option: --n-clases; did you mean --n-classes?"


@pytest.mark.parametrize("words", [["--within-classes", "true"], ["--within-classes=yes"]])
def test_a_switch_says_how_it_is_written(capsys, words):
    said = refusal(capsys, "rfa", "--particles-file", "a.star", *words)
    value = words[0].partition("=")[2] or words[1]
    assert said == (
        f"--within-classes takes no value, but is given {value!r}: write --within-classes for "
        "yes, --no-within-classes for no"
    )
    assert "--mirror for yes" in refusal(capsys, "mra", "--no-mirror", "1", "--n-classes", "3")


def test_no_particles_are_refused(capsys):
    assert refusal(capsys, "mra") == "particles_file (Particles) must be given"


def test_a_configuration_of_another_version_is_refused(capsys, tmp_path):
    config = MultireferenceConfig(files=MultireferenceFiles(particles_file="a.star"))
    record = {**json.loads(to_json(config)), "version": "0.0.1"}
    path = tmp_path / "config.json"
    path.write_text(json.dumps(record))
    assert "written by cryoralib 0.0.1" in refusal(capsys, "mra", "--config", str(path))


def test_a_configuration_of_another_program_is_refused(capsys, tmp_path):
    path = tmp_path / "config.json"
    path.write_text(to_json(ReferenceFreeConfig()))
    said = refusal(capsys, "mra", "--config", str(path))
    assert said == "the configuration is for the program rfa, not for mra"


def test_the_demo_shows_the_notice_it_is_given(monkeypatch, tmp_path, caplog):
    page = tmp_path / "project" / "report.html"
    monkeypatch.setattr(demo, "run_demo", lambda output, n_ranks: [page])
    with caplog.at_level("INFO", logger="cryoralib_plugin"):
        assert demo.main(["--output", str(tmp_path)], notice="its kernels are compiled once") == 0
    assert caplog.messages[0] == "its kernels are compiled once"
    assert str(page) in caplog.text


def test_gpus_must_be_numbers(capsys):
    with pytest.raises(ValueError, match="device numbers such as '0 1', not 'all'"):
        cli._gpu_ids("all")
    assert cli._gpu_ids("0, 2") == (0, 2)
    assert cli._gpu_ids("") == ()


@pytest.mark.mpi
@pytest.mark.parametrize("words", [["mra", "--n-clases", "3"], ["mra", "--expected-ranks", "3"]])
def test_ranks_complain_once_and_end_together(words, tmp_path):
    mpirun = os.path.join(os.path.dirname(sys.executable), "mpirun")
    if not os.path.exists(mpirun):
        pytest.skip("no mpirun beside this Python")
    command = [mpirun, "-n", "2", sys.executable, "-m", "mpi4py", "-m", "cryoralib_plugin"]
    done = subprocess.run(
        [*command, *words, "--particles-file", "a.star"],
        cwd=tmp_path, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode != 0
    assert done.stderr.count("error: ") == 1
    assert "--n-classes" in done.stderr or "3 MPI ranks were expected" in done.stderr
