# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of a 3D run: what it computes of directions, what its page and its script hold."""

from __future__ import annotations

import base64
import json
import re

import numpy as np
import pandas as pd
import pytest

from cryoralib_plugin.contract.results import ANISOTROPY_COLUMNS, DIRECTIONAL_FSC_COLUMNS
from cryoralib_plugin.figures import RefinedParticles
from cryoralib_plugin.geometry.directions import directions_of_pixels
from cryoralib_plugin.report import write_report
from cryoralib_plugin.report.anisotropy import directional, half_sphere
from cryoralib_plugin.report.collect3d import ClassMaps, read_round
from tests.reference.synthetic_run3d import BOX_PX, PIXEL_ANGST, write_synthetic_run3d

# matplotlib 3.8, which Scipion pins, calls names that newer pyparsing renames.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_synthetic_run3d(tmp_path_factory.mktemp("report3d") / "run", symmetry="C2")


@pytest.fixture(scope="module")
def page(run) -> str:
    return write_report(run.paths.run_dir).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def classification(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report3d_classes") / "run"
    made = write_synthetic_run3d(folder, n_classes=3, n_rounds=2)
    write_report(folder)
    return made


def test_rounds_are_read_into_pixels_and_per_angstrom(run):
    report = read_round(run.paths, 5)
    results, frame = report.results, run.particles
    assert (results.stage, results.symmetry, results.program) == ("defocus", "C2", "refine3d")
    assert results.cutoff_inv_angst == pytest.approx(12 / (BOX_PX * PIXEL_ANGST))
    particles = results.particles
    np.testing.assert_allclose(particles.shift_px[:, 1], frame["rlnOriginYAngst"] / 3.0, rtol=1e-5)
    np.testing.assert_allclose(particles.score, frame["rlnParticleFigureOfMerit"], rtol=1e-5)
    np.testing.assert_allclose(particles.weight, frame["cryoralibWeight"], rtol=1e-5)
    np.testing.assert_allclose(
        particles.defocus_angst, (frame["rlnDefocusU"] + frame["rlnDefocusV"]) / 2, rtol=1e-5
    )
    own = results.fsc.of_class(1)
    np.testing.assert_allclose(own.corrected, run.curves[0].corrected[1:])
    assert own.frequency_inv_angst[-1] == pytest.approx(0.5 / PIXEL_ANGST)
    np.testing.assert_array_equal(report.maps(1).half2, run.halves[0, 1])


def test_particles_that_could_not_be_used_are_left_out(run):
    particles = RefinedParticles.from_columns(
        {"tilt_deg": np.arange(4.0), "rot_deg": np.zeros(4), "number": np.array([0, 3, 1, 3])}
    )
    assert particles.in_classes(3).number.tolist() == [3, 1, 3]
    # A reconstruction has one class, whatever the particles were called before.
    assert particles.in_classes(1).number.tolist() == [1, 1, 1]
    assert particles.in_classes(1).tilt_deg.tolist() == [1.0, 2.0, 3.0]


def test_half_a_sphere_has_one_of_each_pair():
    half = half_sphere(4)
    assert len(half) == len(directions_of_pixels(4)) / 2
    closest = (half @ half.T - 2 * np.eye(len(half))).min()
    assert closest > -1.5  # no direction lies opposite to another


def test_page_of_a_refinement_holds_its_pictures(run, page):
    embedded = {base64.b64decode(x) for x in re.findall(r'base64,([^"]+)"', page)}
    saved = {path.read_bytes() for path in run.paths.report_dir.glob("*.png")}
    assert embedded == saved
    assert {path.stem for path in run.paths.report_dir.glob("*.png")} == {
        "map_class001", "fsc", "directional_class001", "orientations", "shifts", "certainty",
        "score_uncertainty", "defocus", "rounds",
    }  # fmt: skip
    assert not re.search(r'(src|href)="(?!data:)', page) and "<script" not in page


def test_page_tells_what_a_microscopist_asks_first(page):
    text = re.sub(r"<[^>]+>", " ", page)
    text = re.sub(r"\s+", " ", text)
    assert "3D refinement" in text
    assert "Resolution (FSC) 11.50 Å" in text and "Resolution without mask 13.50 Å" in text
    assert "Particles in classes 400 " in text and "Symmetry C2" in text
    assert "Rounds finished 5" in text and "Last stage defocus search" in text
    assert "Particles compared up to 8.00 Å" in text and "Time in rounds 1 min 0 s" in text
    assert "weights are not finite" in text


def test_directional_tables_are_left_for_viewers(run, page):
    table = pd.read_csv(run.paths.directional_fsc_csv(5))
    assert tuple(table) == DIRECTIONAL_FSC_COLUMNS
    assert table.groupby("shell").size().unique().tolist() == [96]
    assert table["shell"].max() == BOX_PX // 2
    merit = pd.read_csv(run.paths.anisotropy_csv(5))
    assert tuple(merit) == ANISOTROPY_COLUMNS
    assert 0 < merit["area_ratio"][0] <= 1 and 0 < merit["sampling_compensation"][0] <= 1


def test_missing_directions_show_in_both_numbers(run):
    report = read_round(run.paths, 5)
    maps, results = report.maps(1), report.results
    even = directional(maps, results, 1)
    # A wedge about z that only one half map knows: views from the top alone are not enough.
    spectrum = np.fft.fftn(maps.half1)
    k = np.fft.fftfreq(BOX_PX)
    wedge = k[:, None, None] ** 2 > k[:, None] ** 2 + k**2
    poor = np.fft.ifftn(np.where(wedge, np.random.default_rng(0).normal(size=wedge.shape),
                                 spectrum)).real.astype(np.float32)  # fmt: skip
    top = RefinedParticles.from_columns(
        {"rot_deg": np.arange(300.0), "tilt_deg": np.linspace(0, 20, 300)}
    )
    top_results = type(results)(**{**vars(results), "particles": top, "symmetry": "C1"})
    bad = directional(ClassMaps(maps.merged, None, poor, maps.half2), top_results, 1)
    assert bad.area_ratio < 0.5 < even.area_ratio
    assert bad.sampling < 0.6 < even.sampling


def test_large_maps_are_compared_to_the_shells_in_use_only(run):
    report = read_round(run.paths, 5)
    box = 96
    grown = np.zeros((2, box, box, box), np.float32)
    grown[:, 32:64, 32:64, 32:64] = run.halves[0]
    results = type(report.results)(**{**vars(report.results), "box_size_px": box})
    mask = np.ones_like(grown[0])
    whole = type(results)(**{**vars(results), "cutoff_px": float("nan")})
    small = directional(ClassMaps(None, mask, *grown), results, 1)
    large = directional(ClassMaps(None, mask, *grown), whole, 1)
    assert small.curves.shape[1] == 31 and large.curves.shape[1] == 48
    np.testing.assert_allclose(small.curves, large.curves[:, :31], atol=1e-4)
    np.testing.assert_allclose(small.frequency_inv_angst, large.frequency_inv_angst[:31])


def test_script_names_files_that_exist_from_its_folder(run, page):
    script = run.paths.chimerax_script(5)
    names = re.findall(r'open "([^"]+)"', script.read_text(encoding="utf-8"))
    assert len(names) == 4 and all((script.parent / name).is_file() for name in names)
    assert str(script) in page


def test_script_follows_the_report_elsewhere(run, tmp_path):
    write_report(run.paths.run_dir, tmp_path / "elsewhere")
    script = tmp_path / "elsewhere" / run.paths.chimerax_script(5).name
    names = re.findall(r'open "([^"]+)"', script.read_text(encoding="utf-8"))
    assert names and all((script.parent / name).is_file() for name in names)


def test_classes_have_maps_spheres_and_shares_of_their_own(classification):
    folder = classification.paths.report_dir
    names = {path.stem for path in folder.glob("*.png")}
    for number in (1, 2, 3):
        assert {f"map_class00{number}", f"orientations_class00{number}"} <= names
    assert {"fsc_classes", "class_shares", "class_certainty"} <= names
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "3D classification" in page and "Orientations of class 2" in page


def test_what_is_missing_leaves_the_rest(tmp_path):
    run = write_synthetic_run3d(tmp_path / "run", n_rounds=1, n_particles=20)
    for path in (run.paths.data_star(1), run.paths.fsc_csv(1), run.paths.mask_mrc(1, 1),
                 run.paths.unfiltered_half_mrc(1, 2, 1)):  # fmt: skip
        path.unlink()
    page = write_report(run.paths.run_dir).read_text(encoding="utf-8")
    names = {path.stem for path in run.paths.report_dir.glob("*.png")}
    assert names == {"map_class001", "fsc", "rounds"}
    assert "3D refinement" in page


def test_reconstruction_from_known_poses_has_no_rounds(tmp_path):
    run = write_synthetic_run3d(tmp_path / "run", n_rounds=1, n_particles=20)
    model = json.loads(run.paths.model_json(1).read_text(encoding="utf-8"))
    model["program"] = "reconstruct"
    run.paths.model_json(1).write_text(json.dumps(model), encoding="utf-8")
    page = write_report(run.paths.run_dir).read_text(encoding="utf-8")
    assert "3D reconstruction" in page
    assert "Rounds finished" not in page and "compared up to" not in page
    assert not (run.paths.report_dir / "rounds.png").exists()
    assert (run.paths.report_dir / "directional_class001.png").is_file()


def test_run_before_its_first_round_is_told_in_words(tmp_path):
    (tmp_path / "config.json").write_text('{"program": "refine3d"}', encoding="utf-8")
    page = write_report(tmp_path).read_text(encoding="utf-8")
    assert "3D refinement" in page and "No iteration has finished yet" in page
