# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole programs through the command line: what they leave, and what bad input gets."""

from __future__ import annotations

import json
import resource
import shutil
from pathlib import Path

import mrcfile
import numpy as np
import pandas as pd
import pytest

from cryoralib_plugin import cli
from cryoralib_plugin.contract._codec import from_json
from cryoralib_plugin.contract.align2d import MultireferenceConfig
from cryoralib_plugin.contract.results import QUARANTINE_COLUMNS, ResultPaths
from cryoralib_plugin.io.star import read_star, write_star

SMALL = "--box-size-px 32 --pixel-size-angst 4 --object-diameter-angst 80 --shift-max-px 1".split()
SHORT = "--n-classes 2 --n-iterations 2 --outer-radius-px 12 --shift-range-px 1".split()


@pytest.fixture(scope="session")
def particles(tmp_path_factory):
    """A simulated set of 60 particles of 32 px: the folder with its STAR file and stack."""
    folder = tmp_path_factory.mktemp("particles") / "set"
    words = ["--n-particles", "60", "--disk-radius-px", "12", "--output-dir", str(folder)]
    assert cli.main(["simulate", *SMALL, *words]) == 0
    return folder


@pytest.fixture
def copied(particles, tmp_path):
    """A copy of the set that a test may damage."""
    return Path(shutil.copytree(particles, tmp_path / "copied"))


def status_of(run_dir):
    return json.loads(ResultPaths(run_dir).status_json.read_text())


def align(star, run_dir, *words, program="mra"):
    given = SHORT if program == "mra" else SHORT[2:]
    return cli.main(
        [program, "--particles-file", str(star), "--output-dir", str(run_dir), *given, *words]
    )


def test_halves_that_cannot_be_kept_are_told_of_once(copied, tmp_path, caplog):
    star = copied / "particles.star"
    blocks = read_star(star)
    blocks["particles"]["rlnRandomSubset"] = 1
    write_star(star, blocks)
    with caplog.at_level("INFO", logger="cryoralib_plugin"):
        assert align(star, tmp_path / "run") == 0
    assert caplog.text.count("does not divide the particles into halves") == 1
    assert "nan" not in caplog.text and "changed class" in caplog.text
    written = read_star(ResultPaths(tmp_path / "run").data_star(2))["particles"]
    assert written["rlnRandomSubset"].value_counts().to_dict() == {1: 30, 2: 30}


@pytest.mark.parametrize("program", ["mra", "rfa"])
def test_a_run_leaves_its_whole_story(particles, tmp_path, program):
    assert align(particles / "particles.star", tmp_path / "run", program=program) == 0
    paths = ResultPaths(tmp_path / "run")
    assert paths.last_iteration() == 2
    status = status_of(tmp_path / "run")
    assert (status["state"], status["iteration"], status["message"]) == ("finished", 2, "")
    assert len(read_star(paths.data_star(2))["particles"]) == 60
    assert pd.read_csv(paths.metrics_csv)["iteration"].tolist() == [1, 2]
    assert "iteration 2 of 2" in paths.log.read_text()
    assert not [path for path in Path(paths.run_dir).iterdir() if path.suffix == ".scratch"]


@pytest.mark.parametrize("is_first", [True, False])
def test_the_first_run_of_an_installation_tells_why_it_waits(
    particles, tmp_path, caplog, monkeypatch, is_first
):
    notice = "first use of this version" if is_first else ""
    monkeypatch.setattr(cli, "notice_of_first_use", lambda concept: notice)
    with caplog.at_level("INFO", logger="cryoralib_plugin"):
        assert align(particles / "particles.star", tmp_path / "run") == 0
    log = ResultPaths(tmp_path / "run").log.read_text()
    assert log.count("first use of this version") == int(is_first)
    assert caplog.text.count("first use of this version") == int(is_first)


def test_a_run_is_repeated_from_its_own_configuration(particles, tmp_path):
    assert align(particles / "particles.star", tmp_path / "one", "--batch-size", "7") == 0
    config = str(ResultPaths(tmp_path / "one").config_json)
    again = ["mra", "--config", config, "--output-dir", str(tmp_path / "two"), "--batch-size", "0"]
    assert cli.main(again) == 0
    one, two = ResultPaths(tmp_path / "one"), ResultPaths(tmp_path / "two")
    assert one.data_star(2).read_bytes() == two.data_star(2).read_bytes()
    assert one.classes_mrcs(2).read_bytes()[1024:] == two.classes_mrcs(2).read_bytes()[1024:]
    assert from_json(one.config_json.read_text(), MultireferenceConfig).compute.batch_size == 7


def test_results_of_an_earlier_run_are_never_overwritten(particles, tmp_path, capsys):
    star, run_dir = particles / "particles.star", tmp_path / "run"
    assert align(star, run_dir) == 0
    before = ResultPaths(run_dir).data_star(2).read_bytes()
    assert align(star, run_dir, "--random-seed", "7") == 1
    said = capsys.readouterr().err
    assert "holds a run that came to iteration 2: continue it with --resume" in said
    assert ResultPaths(run_dir).data_star(2).read_bytes() == before
    assert status_of(run_dir)["state"] == "finished"
    assert align(star, run_dir, "--resume", "--n-iterations", "3") == 0
    assert ResultPaths(run_dir).last_iteration() == 3


def test_downsampling_and_every_cache_give_the_same_classes(particles, tmp_path):
    results = {}
    for cache in ("none", "memory", "disk"):
        words = ["--cache", cache, "--downsample-box-px", "28"]
        assert align(particles / "particles.star", tmp_path / cache, *words) == 0
        results[cache] = ResultPaths(tmp_path / cache).data_star(2).read_bytes()
    assert results["none"] == results["memory"] == results["disk"]


def unreadable(folder):
    (folder / "particles.star").unlink()


def truncated(folder):
    with open(folder / "particles.mrcs", "r+b") as stack:
        stack.truncate(50_000)


def stackless(folder):
    (folder / "particles.mrcs").unlink()


def out_of_range(folder):
    star = folder / "particles.star"
    star.write_text(star.read_text().replace("000060@", "000061@"))


def rowless(folder):
    star = folder / "particles.star"
    kept = [line for line in star.read_text().splitlines(True) if "@" not in line]
    star.write_text("".join(kept))


def whole(folder):
    """Nothing is wrong with the particles."""


BAD = [
    (unreadable, [], "does not exist"),
    (truncated, [], "truncated"),
    (stackless, [], "particles.mrcs"),
    (out_of_range, [], "61"),
    (rowless, [], "zero particles"),
    (whole, ["--outer-radius-px", "15"], "outer_radius_px (15) plus the largest shift"),
    (whole, ["--n-classes", "40"], "lower n_classes"),
    (whole, ["--downsample-box-px", "64"], "must not exceed the box of the particles, 32 px"),
    (whole, ["--references-file", "nowhere.mrcs"], "nowhere.mrcs"),
    (whole, ["--gpus", "first"], "device numbers such as '0 1', not 'first'"),
]


@pytest.mark.parametrize(
    "damage, words, said", BAD, ids=[f"{bad[0].__name__} {' '.join(bad[1])}" for bad in BAD]
)
def test_bad_input_is_refused_before_any_work(copied, tmp_path, capsys, damage, words, said):
    damage(copied)
    assert align(copied / "particles.star", tmp_path / "run", *words) == 1
    complaint = capsys.readouterr().err.splitlines()[-1]
    assert complaint.startswith("error: ") and said in complaint
    status = status_of(tmp_path / "run")
    assert status["state"] == "failed" and said in status["message"]
    assert ResultPaths(tmp_path / "run").last_iteration() is None


def test_all_that_is_wrong_is_told_together(copied, tmp_path, capsys):
    with mrcfile.new(tmp_path / "references.mrcs") as stack:
        stack.set_data(np.zeros((40, 40, 40), np.float32))
        stack.voxel_size = 2.0
    words = ["--n-classes", "40", "--outer-radius-px", "15", "--ctf-correction", "phase_flip"]
    words += ["--downsample-box-px", "34"]
    assert align(copied / "particles.mrcs", tmp_path / "many", *words) == 1
    _, *said = capsys.readouterr().err.split("error: ")
    lines = said[0].splitlines()
    assert len(lines) == 3
    assert "downsample_box_px must not exceed" in lines[0]
    assert "CTF correction (phase_flip) needs rlnDefocusU" in lines[1]
    assert lines[2].startswith("n_classes (40)") and "lower n_classes" in lines[2]
    words = ["--references-file", str(tmp_path / "references.mrcs"), "--outer-radius-px", "15"]
    assert align(copied / "particles.star", tmp_path / "references", *words) == 1
    _, *said = capsys.readouterr().err.split("error: ")
    lines = said[0].splitlines()
    assert [line.split(" (")[0] for line in lines] == [
        "outer_radius_px",
        "references must have the box of the particles, 32 x 32 px, but those in "
        f"{tmp_path / 'references.mrcs'} have 40 x 40 px: resample them, or set downsample_box_px "
        "so that the boxes agree",
        "references_file",
    ]
    assert "needs 160 particles, but there are 60: give fewer references" in lines[2]


def test_cryosparc_files_get_advice(tmp_path, capsys):
    (tmp_path / "J12_particles.cs").write_bytes(b"\x93NUMPY")
    assert align(tmp_path / "J12_particles.cs", tmp_path / "run") == 1
    said = capsys.readouterr().err
    assert "export it as RELION STAR first" in said
    assert "csparc2star.py J12_particles.cs [passthrough.cs] particles.star" in said
    assert "plugin scipion-em-cryosparc2" in said


def test_references_of_another_box_are_refused(particles, tmp_path, capsys):
    with mrcfile.new(tmp_path / "references.mrcs") as stack:
        stack.set_data(np.zeros((2, 40, 40), np.float32))
    words = ["--references-file", str(tmp_path / "references.mrcs")]
    assert align(particles / "particles.star", tmp_path / "run", *words) == 1
    said = capsys.readouterr().err
    assert "40" in said and "32" in said


def test_missing_ctf_is_told_where_it_is_asked_for(copied, tmp_path, capsys):
    assert align(copied / "particles.mrcs", tmp_path / "run", "--ctf-correction", "wiener") == 1
    assert "CTF" in capsys.readouterr().err.splitlines()[-1]


def test_broken_images_are_set_aside_and_listed(copied, tmp_path):
    with mrcfile.open(copied / "particles.mrcs", mode="r+") as stack:
        stack.data[4] = np.nan
        stack.data[9] = 3.0
    assert align(copied / "particles.star", tmp_path / "run") == 0
    paths = ResultPaths(tmp_path / "run")
    listed = pd.read_csv(paths.quarantine_csv)
    assert tuple(listed.columns) == QUARANTINE_COLUMNS
    assert sorted(int(name.split("@")[0]) for name in listed["rlnImageName"]) == [5, 10]


def test_a_gpu_that_is_absent_is_told(particles, tmp_path, capsys):
    if shutil.which("nvidia-smi"):
        pytest.skip("this machine has a GPU")
    assert align(particles / "particles.star", tmp_path / "run", "--backend", "cuda") == 1
    assert "a GPU is asked for, but none can be used" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_told(particles, tmp_path, capsys):
    (tmp_path / "file").touch()
    assert align(particles / "particles.star", tmp_path / "file" / "run") == 1
    assert "cannot write to the run directory" in capsys.readouterr().err


def test_a_full_disk_is_told_and_the_earlier_iteration_stays(particles, tmp_path, capsys):
    star, run_dir = particles / "particles.star", tmp_path / "run"
    assert align(star, run_dir) == 0
    assert align(star, run_dir, "--resume", "--n-iterations", "3") == 0
    paths = ResultPaths(run_dir)
    before = paths.data_star(3).read_bytes()
    capsys.readouterr()
    # In this process, whose kernels are compiled: their cache must not meet the limit first.
    allowed = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, allowed[1]))
    try:
        assert align(star, run_dir, "--resume", "--n-iterations", "5") == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, allowed)
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: cannot write") and "Iteration 3 is whole" in last
    assert paths.last_iteration() == 3 and paths.data_star(3).read_bytes() == before
    assert status_of(run_dir)["state"] == "failed"
    assert align(star, run_dir, "--resume", "--n-iterations", "4") == 0
    assert paths.last_iteration() == 4
