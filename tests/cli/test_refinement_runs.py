# SPDX-License-Identifier: GPL-3.0-or-later
"""Refinement and reconstruction through the command line: what they leave and what they refuse."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from cryoralib_plugin import cli
from cryoralib_plugin.contract.results import METRICS3D_COLUMNS, ResultPaths
from cryoralib_plugin.fourier.fsc import fsc
from cryoralib_plugin.fourier.masks3d import soft_sphere
from cryoralib_plugin.io.mrc import read_mrc, write_volume
from cryoralib_plugin.io.star import read_star, write_star

BOX = 32
SMALL = "--box-size-px 32 --pixel-size-angst 4 --object-diameter-angst 80 --shift-max-px 1".split()
SHORT = (
    "--initial-resolution-angst 40 --global-resolution-angst 30 --n-scan-rotations 300 "
    "--n-local-rotations 30 --n-local-shifts 7 --highest-phases 3 --shift-std-px 1 "
    "--maximum-rounds 2"
).split()


@pytest.fixture(scope="session")
def posed(tmp_path_factory):
    """A folder with 150 particles of little noise, their true poses and the map."""
    folder = tmp_path_factory.mktemp("posed") / "set"
    words = ["--n-particles", "150", "--snr", "1", "--junk-fraction", "0", "--output-dir"]
    assert cli.main(["simulate", *SMALL, *words, str(folder)]) == 0
    star, truth = read_star(folder / "particles.star"), read_star(folder / "truth.star")
    posed = truth["particles"].set_index("rlnImageName").loc[star["particles"]["rlnImageName"]]
    for name in (
        "rlnAngleRot",
        "rlnAngleTilt",
        "rlnAnglePsi",
        "rlnOriginXAngst",
        "rlnOriginYAngst",
    ):
        star["particles"][name] = posed[name].to_numpy()
    star["particles"]["rlnImageName"] = [
        name.replace("@", f"@{folder}/") for name in star["particles"]["rlnImageName"]
    ]
    write_star(folder / "posed.star", star)
    return folder


def status_of(run_dir):
    return json.loads(ResultPaths(run_dir).status_json.read_text())


def run(program, folder, run_dir, *words):
    star = folder / ("particles.star" if program == "refine3d" else "posed.star")
    return cli.main([program, "--particles-file", str(star), "--output-dir", str(run_dir), *words])


def test_true_poses_give_the_true_map(posed, tmp_path):
    assert run("reconstruct", posed, tmp_path / "run") == 0
    paths = ResultPaths(tmp_path / "run")
    truth, found = (read_mrc(path)[0] for path in (posed / "phantom.mrc", paths.merged_mrc(1, 1)))
    curve = fsc(found, truth, soft_sphere(BOX, 12, 3))
    assert (curve[1:9] > 0.9).all()
    model = json.loads(paths.model_json(1).read_text())
    assert (model["program"], model["n_unused"]) == ("reconstruct", 0)
    assert model["classes"][0]["resolution_angst"] < 16
    assert status_of(tmp_path / "run")["state"] == "finished"
    assert not paths.cloud_h5(1).exists()


def test_a_refinement_leaves_its_whole_story_and_goes_on(posed, tmp_path):
    words = ["--reference-file", str(posed / "phantom.mrc"), *SHORT]
    assert run("refine3d", posed, tmp_path / "run", *words) == 0
    paths = ResultPaths(tmp_path / "run")
    metrics = pd.read_csv(paths.metrics_csv)
    assert tuple(metrics.columns[: len(METRICS3D_COLUMNS)]) == METRICS3D_COLUMNS
    assert metrics["iteration"].tolist() == [1, 2] == paths.iterations()
    assert run("refine3d", posed, tmp_path / "run", *words) == 1
    assert (
        run("refine3d", posed, tmp_path / "run", *words, "--maximum-rounds", "3", "--resume") == 0
    )
    assert paths.iterations() == [1, 2, 3]
    assert status_of(tmp_path / "run")["iteration"] == 3
    again = ["--points-file", str(paths.cloud_h5(3))]
    star = str(paths.data_star(3))
    given = ["--particles-file", star, "--output-dir", str(tmp_path / "again"), *again]
    assert cli.main(["reconstruct", *given]) == 0
    assert ResultPaths(tmp_path / "again").merged_mrc(1, 1).is_file()


def test_all_that_is_wrong_is_said_before_any_work(posed, tmp_path, capsys):
    mask = np.full((BOX,) * 3, 2.0, np.float32)
    mask[0] = 0
    write_volume(tmp_path / "mask.mrc", mask, pixel_size_angst=4.0)
    words = ["--mask-file", str(tmp_path / "mask.mrc"), "--map-mask", "given"]
    words += ["--reference-file", "none.mrc", "--initial-resolution-angst", "7"]
    words += ["--global-resolution-angst", "7"]
    assert run("refine3d", posed, tmp_path / "run", *words) == 1
    said = capsys.readouterr().err
    for part in ("between 0 and 1", "none.mrc does not exist", "must not be finer than Nyquist"):
        assert part in said
    status = status_of(tmp_path / "run")
    assert status["state"] == "failed" and "Nyquist" in status["message"]
    assert ResultPaths(tmp_path / "run").iterations() == []


def test_a_reconstruction_needs_poses(posed, tmp_path, capsys):
    star = str(posed / "particles.star")
    given = ["--particles-file", star, "--output-dir", str(tmp_path / "run")]
    assert cli.main(["reconstruct", *given]) == 1
    said = capsys.readouterr().err
    assert "none of the 150 particles has a pose" in said and "start_from_poses" not in said


def test_a_mask_of_another_box_and_voxel_is_fitted(posed, tmp_path, capsys):
    ball = soft_sphere(48, 18, 4)
    write_volume(tmp_path / "mask.mrc", ball, pixel_size_angst=8 / 3)
    words = ["--mask-file", str(tmp_path / "mask.mrc"), "--map-mask", "given"]
    assert run("reconstruct", posed, tmp_path / "run", *words) == 0
    assert "48 px of 2.667 A, is brought to the particles' 32 px of 4 A" in capsys.readouterr().err
    used = read_mrc(ResultPaths(tmp_path / "run").mask_mrc(1, 1))[0]
    assert used.shape == (BOX,) * 3 and used.min() >= 0.0 and used.max() <= 1.0
    assert used.sum() * 4**3 == pytest.approx(ball.sum() * (8 / 3) ** 3, rel=0.01)


def test_weights_decide_what_a_particle_counts(posed, tmp_path):
    star = read_star(posed / "posed.star")
    good = np.arange(150) < 100
    star["particles"]["cryoralibWeight"] = good.astype(float)
    # What has no weight may look anywhere without harm.
    star["particles"].loc[~good, "rlnAngleTilt"] += 77.0
    write_star(tmp_path / "weighed.star", star)
    found = {}
    for name, words in (("used", []), ("not", ["--no-use-weights"])):
        given = ["--particles-file", str(tmp_path / "weighed.star"), *words]
        assert cli.main(["reconstruct", *given, "--output-dir", str(tmp_path / name)]) == 0
        found[name] = read_mrc(ResultPaths(tmp_path / name).merged_mrc(1, 1))[0]
    truth = read_mrc(posed / "phantom.mrc")[0]
    used, without = (fsc(found[name], truth)[1:9].mean() for name in ("used", "not"))
    assert used > without + 0.02
