# SPDX-License-Identifier: GPL-3.0-or-later
"""Viewers of 3D runs without a screen: what they read, which views they return, what they say."""

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("pwem")
# matplotlib 3.8, which Scipion pins, calls names that newer pyparsing renames.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture()
def viewer(refined):
    from cryoralib_plugin.viewers import CryoRalibRefine3DViewer

    made = CryoRalibRefine3DViewer(project=refined.project, protocol=refined.protocol)
    made.setProtocol(refined.protocol)
    return made


@pytest.fixture(scope="module")
def reported(refined):
    from cryoralib_plugin.report import write_report

    write_report(refined.protocol.run_dir)
    return refined


def _show(viewer, name):
    return viewer._getVisualizeDict()[name](name)


def test_a_round_is_read_alike_by_viewer_and_report(refined):
    from cryoralib_plugin.viewers.shown3d import shown_round

    from cryoralib_plugin.report.collect3d import read_round

    run_dir = refined.protocol.run_dir
    of_report, shown = read_round(refined.run.paths, 3), shown_round(run_dir, 3)
    for name in ("iteration", "program", "stage", "cutoff_px", "symmetry", "box_size_px"):
        assert getattr(shown.results, name) == getattr(of_report.results, name)
    for table in ("classes", "fsc"):
        expected = getattr(of_report.results, table)
        for name in expected.__dataclass_fields__:
            np.testing.assert_allclose(
                getattr(getattr(shown.results, table), name), getattr(expected, name)
            )
    for name in shown.particles.__dataclass_fields__:
        np.testing.assert_allclose(
            getattr(shown.particles, name), getattr(of_report.results.particles, name), rtol=1e-6
        )
    assert shown.numbers == of_report.numbers


def test_stages_of_the_rounds_are_read(refined):
    from cryoralib_plugin.figures import History
    from cryoralib_plugin.scipion import results3d as reading

    history = History.from_columns(reading.read_rounds(refined.protocol.run_dir))
    assert history.stages == ("global", "global", "local")
    assert history.columns["cutoff_px"].tolist() == [6.0, 8.0, 10.0]


def test_every_plot_gives_a_view_and_has_an_entry_in_the_form(reported, viewer):
    for name in viewer._getVisualizeDict():
        assert viewer.getParam(name) is not None
        if name in ("showChimera", "showReport"):
            continue
        views = _show(viewer, name)
        assert views and all(view.figure.axes for view in views), name
    assert len(_show(viewer, "showMaps")) == 2
    assert len(_show(viewer, "showDirectional")) == 2


def test_plots_can_be_of_one_class(viewer, refined):
    viewer.classNumbers.set("2")
    (view,) = _show(viewer, "showMaps")
    assert "Map of class 2" in view.title
    number = refined.run.particles["rlnClassNumber"]
    (view,) = _show(viewer, "showShifts")
    assert view.figure.axes[0].collections[0].get_array().sum() == (number == 2).sum()
    viewer.classNumbers.set("7")
    (message,) = _show(viewer, "showMaps")
    assert "1 to 2; asked for: 7" in message.getMessage()


def test_rounds_are_chosen_and_others_refused_in_words(viewer):
    viewer.whichIterations.set(1)
    viewer.iterations.set("1,3")
    assert [view.title for view in _show(viewer, "showOrientations")] == [
        "Orientations, round 1", "Orientations, round 3",
    ]  # fmt: skip
    viewer.iterations.set("5")
    (message,) = _show(viewer, "showOrientations")
    assert "1 to 3; asked for: 5" in message.getMessage()


def test_directions_come_from_the_report(reported):
    from cryoralib_plugin.viewers.shown3d import shown_round

    from cryoralib_plugin.report.anisotropy import directional
    from cryoralib_plugin.report.collect3d import read_round

    report = read_round(reported.run.paths, 3)
    expected = directional(report.maps(1), report.results, 1)
    found = shown_round(reported.protocol.run_dir, 3).directional(1)
    np.testing.assert_allclose(found.directions, expected.directions, atol=2e-6)
    np.testing.assert_allclose(found.curves, expected.curves, atol=1e-4)
    np.testing.assert_allclose(found.frequency_inv_angst, expected.frequency_inv_angst)
    assert found.area_ratio == pytest.approx(expected.area_ratio, abs=1e-4)
    assert found.sampling == pytest.approx(expected.sampling, abs=1e-4)


def test_directions_of_the_last_round_are_computed_when_asked_for(viewer, refined):
    paths = refined.run.paths
    paths.directional_fsc_csv(3).unlink(missing_ok=True)
    (pending,) = _show(viewer, "showDirectional")
    views = pending.wait()
    assert paths.directional_fsc_csv(3).is_file()
    assert [view.title for view in views] == [
        "Directional FSC of class 1", "Directional FSC of class 2",
    ]  # fmt: skip
    viewer.whichIterations.set(1)
    viewer.iterations.set("1")
    (message,) = _show(viewer, "showDirectional")
    assert "they are computed for the last round" in message.getMessage()


def test_a_report_that_fails_says_why(refined):
    from cryoralib_plugin.viewers.figure_window import PendingView

    def start():
        code = "import sys; sys.exit('error: the disk is full')"
        return subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)

    with pytest.raises(ValueError, match="error: the disk is full"):
        PendingView(start, list, "Computing").wait()


def test_without_chimerax_the_script_is_named(viewer, refined, monkeypatch):
    from pwem.viewers import Chimera, ChimeraView

    monkeypatch.setattr(Chimera, "getProgram", classmethod(lambda cls: None))
    (message,) = _show(viewer, "showChimera")
    script = refined.run.paths.chimerax_script(3)
    assert str(script.resolve()) in message.getMessage()
    names = re.findall(r'open "([^"]+)"', script.read_text(encoding="utf-8"))
    assert len(names) == 8 and all((script.parent / name).is_file() for name in names)
    monkeypatch.setattr(Chimera, "getProgram", classmethod(lambda cls: sys.executable))
    (view,) = _show(viewer, "showChimera")
    assert isinstance(view, ChimeraView) and str(script) in view._cmd


def test_open_with_offers_directions_and_maps_of_anybody(refined, finished):
    import pwem
    from cryoralib_plugin.viewers import CryoRalibMapViewer, CryoRalibViews3DViewer
    from pyworkflow.viewer import DESKTOP_TKINTER

    def offered(items):
        return pwem.Domain.findViewers(items, DESKTOP_TKINTER)

    assert CryoRalibViews3DViewer in offered(refined.particles)
    assert CryoRalibViews3DViewer not in offered(finished.aligned)
    assert CryoRalibMapViewer in offered(refined.volume)
    assert offered(refined.protocol)[0].__name__ == "CryoRalibRefine3DViewer"
    views = CryoRalibViews3DViewer(project=refined.project)._visualize(refined.particles)
    assert [view.title for view in views] == [
        "Orientations", "Shifts", "Scores and uncertainties",
    ]  # fmt: skip
    assert views[1].figure.axes[0].collections[0].get_array().sum() == len(refined.particles)
    (view,) = CryoRalibMapViewer(project=refined.project)._visualize(refined.volume)
    picture = view.figure.axes[0].images[0].get_array()
    np.testing.assert_allclose(picture, refined.run.merged[0][16], rtol=1e-6)


def test_curves_of_a_set_are_those_of_the_run(refined):
    import pwem
    from cryoralib_plugin.viewers import CryoRalibFscViewer
    from pyworkflow.viewer import DESKTOP_TKINTER

    assert CryoRalibFscViewer in pwem.Domain.findViewers(refined.fscs, DESKTOP_TKINTER)
    (view,) = CryoRalibFscViewer(project=refined.project)._visualize(refined.fscs)
    lines = {line.get_label().split(":")[0]: line for line in view.figure.axes[0].lines}
    np.testing.assert_allclose(
        lines["class 2, corrected"].get_ydata(), refined.run.curves[1].corrected[1:], atol=1e-6
    )


def test_run_before_its_first_round_is_refused_in_words(refined):
    from cryoralib_plugin.protocols import CryoRalibProtRefine3D
    from cryoralib_plugin.viewers import CryoRalibRefine3DViewer

    protocol = refined.project.newProtocol(CryoRalibProtRefine3D)
    refined.project.saveProtocol(protocol)
    viewer = CryoRalibRefine3DViewer(project=refined.project, protocol=protocol)
    viewer.setProtocol(protocol)
    assert "No iteration has finished yet" in viewer.validate()[0]


def test_pending_figures_open_when_the_program_has_ended(screen):
    import tkinter
    import types

    from cryoralib_plugin.viewers.figure_window import FigureView, PendingView

    from cryoralib_plugin import figures

    root = tkinter.Tk()
    root.withdraw()
    parent = types.SimpleNamespace(getRoot=lambda: root)

    def start():
        return subprocess.Popen([sys.executable, "-c", "pass"], stderr=subprocess.PIPE, text=True)

    done = [("Ready", figures.figure_in_words("There is nothing to show."))]
    PendingView(start, lambda: done, "Computing", parent).show()
    titles = set()
    for _ in range(200):
        root.update()
        titles |= {w.title() for w in root.winfo_children() if isinstance(w, tkinter.Toplevel)}
        if "Ready" in titles:
            break
        root.after(20)
    root.destroy()
    assert titles == {"Computing", "Ready"}
    assert FigureView(done[0][1], "Ready").figure is done[0][1]
