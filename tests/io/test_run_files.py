# SPDX-License-Identifier: GPL-3.0-or-later
"""Checkpoints are whole or absent, whatever happens while they are written or afterwards."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import textwrap

import numpy as np
import pandas as pd
import pytest

from cryoralib_plugin.contract.results import FRC_COLUMNS, ResultPaths
from cryoralib_plugin.io import run_files as module
from cryoralib_plugin.io.atomic import DiskFullError, write_text_atomically
from cryoralib_plugin.io.run_files import Checkpoint, RunFiles


def checkpoint_of(iteration, box=8, n_classes=3):
    rng = np.random.default_rng(iteration)
    particles = pd.DataFrame(
        {
            "rlnImageName": [f"{i + 1:06d}@a.mrcs" for i in range(20)],
            "rlnAnglePsi": rng.normal(size=20) * 100,
            "rlnClassNumber": rng.integers(1, n_classes + 1, 20),
        }
    )
    optics = pd.DataFrame({"rlnOpticsGroup": [1], "rlnImagePixelSize": [1.3]})
    return Checkpoint(
        iteration=iteration,
        pixel_size_angst=1.3,
        blocks={"optics": optics, "particles": particles},
        averages=rng.normal(size=(n_classes, box, box)).astype(np.float32),
        half_averages=rng.normal(size=(n_classes, 2, box, box)).astype(np.float32),
        frc=pd.DataFrame([(1, 2, 0.25, 5.2, 1 / 3)], columns=list(FRC_COLUMNS)),
        model={"iteration": iteration, "pixel_size_angst": 1.3, "x": np.float64(0.1), "y": np.nan},
    )


@pytest.fixture
def files(tmp_path):
    files = RunFiles(ResultPaths(tmp_path / "run"))
    files.prepare()
    return files


def same(first, second):
    assert first.iteration == second.iteration
    np.testing.assert_array_equal(first.averages, second.averages)
    np.testing.assert_array_equal(first.half_averages, second.half_averages)
    for name, frame in first.blocks.items():
        for column in frame:
            assert frame[column].tolist() == second.blocks[name][column].tolist()
    assert first.frc.to_dict("list") == second.frc.to_dict("list")


def test_an_iteration_comes_back_to_the_last_bit(files):
    assert files.read_checkpoint() is None
    for iteration in (1, 2):
        files.write_iteration(checkpoint_of(iteration))
    back = files.read_checkpoint()
    same(checkpoint_of(2), back)
    assert back.pixel_size_angst == 1.3
    assert back.model["x"] == 0.1
    assert back.model["y"] is None
    names = json.loads(files.paths.manifest_json(2).read_text())["files"]
    assert sorted(names) == [
        "run_it002_classes.mrcs",
        "run_it002_data.star",
        "run_it002_frc.csv",
        "run_it002_half1_classes.mrcs",
        "run_it002_half2_classes.mrcs",
        "run_it002_model.json",
    ]


PARTS = ["data.star", "classes.mrcs", "half1_classes.mrcs", "frc.csv", "model.json"]


@pytest.mark.parametrize("part", PARTS + ["manifest.json"])
@pytest.mark.parametrize("damage", ["truncate", "flip", "delete", "empty"])
def test_a_damaged_iteration_gives_way_to_the_one_before(files, caplog, part, damage):
    for iteration in (1, 2):
        files.write_iteration(checkpoint_of(iteration))
    path = files.paths.manifest_json(2).with_name(f"run_it002_{part}")
    content = bytearray(path.read_bytes())
    if damage == "truncate":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "delete":
        path.unlink()
    else:
        # In the manifest the first byte that matters is the brace; elsewhere any byte does.
        place = 0 if part == "manifest.json" else len(content) // 2
        content[place] ^= 1
        path.write_bytes(content)
    same(checkpoint_of(1), files.read_checkpoint())
    if not (part == "manifest.json" and damage == "delete"):
        assert "iteration 2 cannot be continued from: " in caplog.text
        assert path.name in caplog.text


def test_a_kill_at_any_moment_leaves_a_whole_iteration(files, monkeypatch):
    """Every system call that changes the directory may be the last one."""
    files.write_iteration(checkpoint_of(1))

    class KilledError(BaseException):
        pass

    calls = 0
    for last_call in range(100):
        count = 0
        real_replace, real_fsync = os.replace, os.fsync

        def step(function, last_call=last_call):
            def stepped(*arguments):
                nonlocal count
                count += 1
                if count > last_call:
                    raise KilledError
                return function(*arguments)

            return stepped

        monkeypatch.setattr(os, "replace", step(real_replace))
        monkeypatch.setattr(os, "fsync", step(real_fsync))
        try:
            files.write_iteration(checkpoint_of(2))
            finished = True
        except KilledError:
            finished = False
        monkeypatch.undo()
        back = files.read_checkpoint()
        same(checkpoint_of(back.iteration), back)
        if finished:
            assert back.iteration == 2
            break
        calls += 1
    assert calls >= 13  # six files flushed and renamed, and the manifest


def test_a_replaced_iteration_is_never_half_old_half_new(files, monkeypatch):
    files.write_iteration(checkpoint_of(1))
    files.write_iteration(checkpoint_of(2))
    real_replace, count = os.replace, 0

    def fail_at_third(*arguments):
        nonlocal count
        count += 1
        if count == 3:
            raise KeyboardInterrupt
        return real_replace(*arguments)

    monkeypatch.setattr(os, "replace", fail_at_third)
    changed = checkpoint_of(5)
    with pytest.raises(KeyboardInterrupt):
        files.write_iteration(Checkpoint(**{**changed.__dict__, "iteration": 2}))
    monkeypatch.undo()
    same(checkpoint_of(1), files.read_checkpoint())


def test_a_full_disk_leaves_the_previous_iteration_whole(tmp_path):
    """RLIMIT_FSIZE stands for the full disk: the averages of iteration 2 do not fit."""
    script = """
        import resource, sys
        sys.path[:0] = [{repo!r}, {tests!r}]
        from test_run_files import ResultPaths, RunFiles, checkpoint_of
        files = RunFiles(ResultPaths({run!r}))
        files.prepare()
        files.write_iteration(checkpoint_of(1))
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        files.write_iteration(checkpoint_of(2, box=64))
    """
    tests = os.path.dirname(__file__)
    repo = os.path.dirname(os.path.dirname(tests))
    run = str(tmp_path / "run")
    code = textwrap.dedent(script).format(repo=repo, tests=tests, run=run)
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.returncode == 1
    message = ended.stderr.strip().splitlines()[-1]
    assert "cannot write run_it002_classes.mrcs in" in message
    assert "Iteration 1 is whole and nothing of it is lost" in message
    assert "An iteration takes about 0.1 MB" in message
    assert "MB are free there. Make room and continue the run" in message
    files = RunFiles(ResultPaths(run))
    same(checkpoint_of(1), files.read_checkpoint())
    assert not [name for name in os.listdir(run) if "it002" in name]


def test_the_room_an_iteration_takes_is_about_right(files):
    checkpoint = checkpoint_of(1, box=32, n_classes=10)
    files.write_iteration(checkpoint)
    taken = sum(path.stat().st_size for path in files.paths.run_dir.iterdir())
    assert 0.5 < checkpoint.expected_bytes / taken < 1.5


def test_no_space_left_names_the_file_and_the_room(files, monkeypatch):
    def no_space(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "write_star", no_space)
    with pytest.raises(DiskFullError, match=r"cannot write run_it001_data\.star in .*disk or the"):
        files.write_iteration(checkpoint_of(1))
    assert list(files.paths.run_dir.iterdir()) == []


def test_other_errors_are_left_as_they_are(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_text_atomically(tmp_path / "no" / "such" / "folder" / "x", "text")


def test_leftovers_of_a_kill_are_removed(files):
    leftover = files.paths.run_dir / ".run_it003_data.star.part"
    leftover.touch()
    files.prepare()
    assert not leftover.exists()


def test_a_run_directory_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="cannot write to the run directory .* choose another"):
        RunFiles(ResultPaths(tmp_path / "file")).prepare()


def test_metrics_of_a_repeated_iteration_replace_the_old(files):
    for iteration in (1, 2, 3):
        files.write_metrics({"iteration": iteration, "mean_score": iteration / 3})
    files.write_metrics({"iteration": 2, "mean_score": 0.1, "seconds_total": 5})
    metrics = files.read_metrics()
    assert metrics["iteration"].tolist() == [1, 2]
    assert metrics["mean_score"].tolist() == [1 / 3, 0.1]


def test_status_config_and_quarantine(files):
    assert files.read_status() == {}
    files.write_config('{"a": 1}\n')
    files.write_status("failed", iteration=4, message="what happened")
    assert files.read_status()["message"] == "what happened"
    assert json.loads(files.paths.config_json.read_text()) == {"a": 1}
    frame = pd.DataFrame({"rlnImageId": [3], "rlnImageName": ["3@a"], "reason": ["constant"]})
    files.write_quarantine(frame)
    assert pd.read_csv(files.paths.quarantine_csv).to_dict("list") == frame.to_dict("list")
    with pytest.raises(ValueError, match="lacks the columns reason"):
        files.write_quarantine(frame.drop(columns="reason"))
