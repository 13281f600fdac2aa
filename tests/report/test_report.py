# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of a run: what it reads, what its page holds, and how it treats unfinished runs."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from cryoralib_plugin.contract.results import ResultPaths
from cryoralib_plugin.io.run_files import RunFiles
from cryoralib_plugin.report import write_report
from cryoralib_plugin.report.collect import collect, read_record
from tests.reference.synthetic_run import write_synthetic_run

# matplotlib 3.8, which Scipion pins, calls names that newer pyparsing renames.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


class _Balance(HTMLParser):
    """Counts what is opened and not closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_synthetic_run(tmp_path_factory.mktemp("report") / "run")


@pytest.fixture(scope="module")
def page(run) -> str:
    return write_report(run.paths.run_dir).read_text(encoding="utf-8")


def test_files_are_read_into_pixels_and_per_angstrom(run):
    results = collect(read_record(run.paths.run_dir)).results
    assert results.iteration == 3
    np.testing.assert_allclose(results.averages, run.averages)
    expected = run.particles[["rlnOriginXAngst", "rlnOriginYAngst"]].to_numpy() / 2.0
    np.testing.assert_allclose(results.poses.shift_px, expected, rtol=1e-6)
    np.testing.assert_allclose(results.poses.psi_deg, run.particles["rlnAnglePsi"], rtol=1e-6)
    assert (results.poses.mirror == (run.particles["rlnIsFlip"] == 1)).all()
    frequency, frc = results.frc.curve(1)
    assert frequency[-1] == pytest.approx(0.25)  # Nyquist of 2 angstrom a pixel
    assert frc[0] == pytest.approx(1.0)
    assert results.classes.n_members.tolist() == run.members.tolist()


def test_search_range_is_that_of_the_last_stage(run):
    assert collect(read_record(run.paths.run_dir)).shift_range_px == (3.0, 3.0)


def test_page_stands_alone(page):
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert "<script" not in page
    balance = _Balance()
    balance.feed(page)
    assert balance.open == []


def test_page_embeds_the_pictures_that_are_saved(run, page):
    embedded = {base64.b64decode(x) for x in re.findall(r'base64,([^"]+)"', page)}
    saved = {path.read_bytes() for path in run.paths.report_dir.glob("*.png")}
    assert embedded == saved
    names = {path.stem for path in run.paths.report_dir.glob("*.png")}
    assert names == {
        "class_averages", "frc", "occupancy", "scores", "inplane_angles", "shifts", "mirrored",
        "evolution", "convergence",
    }  # fmt: skip
    assert all(f"({name}.png)" in page for name in names)


def test_page_tells_state_classes_metrics_and_quarantine(page):
    assert "Multi-reference 2D alignment" in page
    assert "All done &amp; well." in page
    assert "5 of 6" in page  # one class is dead
    assert "constant &lt;image&gt;" in page and "000602@a.mrcs" in page
    assert "2 particles took no part" in page
    assert "search . n_classes" in page


def test_many_classes_take_several_pages(tmp_path):
    run = write_synthetic_run(tmp_path / "many", n_classes=61, n_iterations=1)
    write_report(run.paths.run_dir, tmp_path / "out")
    names = {path.name for path in (tmp_path / "out").glob("class_averages*")}
    assert names == {"class_averages.png", "class_averages_2.png"}
    assert not (tmp_path / "out" / "evolution.png").exists()  # one iteration shows no evolution


def test_run_without_a_finished_iteration_is_told_in_words(tmp_path):
    files = RunFiles(ResultPaths(tmp_path))
    files.write_status("failed", message="references.mrcs has another box.")
    page = write_report(tmp_path).read_text(encoding="utf-8")
    assert "references.mrcs has another box." in page and "No iteration has finished" in page


def test_poses_that_are_missing_leave_the_rest(tmp_path):
    run = write_synthetic_run(tmp_path / "run", n_iterations=1)
    run.paths.data_star(1).unlink()
    run.paths.frc_csv(1).unlink()
    page = write_report(run.paths.run_dir).read_text(encoding="utf-8")
    assert "Class averages" in page and "Shifts" not in page


def test_other_folders_are_refused_in_words(tmp_path):
    advice = "give what was --output-dir of an alignment, or the folder extra/run of a Scipion"
    with pytest.raises(FileNotFoundError, match=f"folder of a run, but does not exist: {advice}"):
        write_report(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=f"neither config.json nor .* iteration: {advice}"):
        write_report(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(FileNotFoundError, match=f"folder of a run, but is a file: {advice}"):
        write_report(tmp_path / "file")


def test_program_writes_where_it_is_told(run, tmp_path):
    from cryoralib_plugin.cli import main

    assert main(["report", str(run.paths.run_dir), str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "report.html").is_file()


def test_program_refuses_other_folders_in_words(tmp_path, capsys):
    from cryoralib_plugin.cli import main

    assert main(["report", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"error: {tmp_path} must be the folder of a run")
