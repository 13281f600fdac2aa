# SPDX-License-Identifier: GPL-3.0-or-later
"""Viewers without a screen: what they read, which views they return, what they say of bad input."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("pwem")
# matplotlib 3.8, which Scipion pins, calls names that newer pyparsing renames.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture()
def viewer(finished):
    from cryoralib_plugin.viewers import CryoRalibAlign2DViewer

    made = CryoRalibAlign2DViewer(project=finished.project, protocol=finished.protocol)
    made.setProtocol(finished.protocol)
    return made


def _show(viewer, name):
    return viewer._getVisualizeDict()[name](name)


def test_run_files_are_read_alike_by_viewer_and_report(finished):
    from cryoralib_plugin.viewers.shown import shown_iteration

    from cryoralib_plugin.report.collect import collect, read_record
    from cryoralib_plugin.scipion import results as reading

    report = collect(read_record(finished.protocol.run_dir))
    shown = shown_iteration(finished.protocol.run_dir, 3)
    assert shown.range_px == report.shift_range_px
    for name in ("number", "n_members", "resolution_angst", "mean_score", "alive"):
        expected = getattr(report.results.classes, name)
        np.testing.assert_array_equal(getattr(shown.results.classes, name), expected)
    np.testing.assert_allclose(shown.results.averages, report.results.averages)
    for name in ("number", "psi_deg", "shift_px", "mirror", "score"):
        expected = getattr(report.results.poses, name)
        np.testing.assert_allclose(getattr(shown.poses, name), expected, rtol=1e-6)
    for name in ("frequency_inv_angst", "frc"):
        np.testing.assert_allclose(
            getattr(shown.results.frc, name), getattr(report.results.frc, name)
        )
    history = reading.read_history(finished.protocol.run_dir)
    for name, column in report.record.history.columns.items():
        np.testing.assert_allclose(history[name], column)


def test_a_set_of_classes_shows_what_its_run_holds(finished):
    from cryoralib_plugin.viewers.shown import shown_iteration, shown_set

    of_set = shown_set(finished.classes)
    of_run = shown_iteration(finished.protocol.run_dir, 3)
    alive = of_run.results.classes.n_members > 0
    assert of_set.results.classes.number.tolist() == [1, 2, 3]
    np.testing.assert_array_equal(
        of_set.results.classes.n_members, of_run.results.classes.n_members[alive]
    )
    np.testing.assert_allclose(
        of_set.results.classes.resolution_angst, of_run.results.classes.resolution_angst[alive]
    )
    np.testing.assert_allclose(of_set.results.averages, of_run.results.averages[alive])
    assert of_set.results.pixel_size_angst == 2.0
    # The same poses, whichever road they came: matrix in the database or STAR file.
    order = np.lexsort((of_run.poses.psi_deg, of_run.poses.number))
    other = np.lexsort((of_set.poses.psi_deg, of_set.poses.number))
    for name in ("number", "psi_deg", "shift_px", "mirror", "score"):
        np.testing.assert_allclose(
            getattr(of_set.poses, name)[other], getattr(of_run.poses, name)[order], atol=1e-5
        )


def test_a_set_of_averages_is_shown_with_counts(finished):
    from cryoralib_plugin.viewers.shown import shown_set

    shown = shown_set(finished.averages)
    assert shown.outputs == ("averages",)
    assert shown.results.classes.n_members.sum() == len(finished.particles)
    assert shown.poses is None


def test_open_with_offers_the_gallery_for_classes_and_averages_of_anybody(finished):
    import pwem
    from pwem.objects import SetOfAverages, SetOfClasses2D
    from pyworkflow.viewer import DESKTOP_TKINTER

    for items in (finished.classes, finished.averages):
        assert type(items) in (SetOfClasses2D, SetOfAverages)
        found = pwem.Domain.findViewers(items, DESKTOP_TKINTER)
        assert "Cryo-RALib class averages" in [viewer.getName() for viewer in found]
    first = pwem.Domain.findViewers(finished.protocol, DESKTOP_TKINTER)[0]
    assert first.__name__ == "CryoRalibAlign2DViewer"


def test_aligned_particles_show_their_poses_and_others_offer_nothing(finished):
    import pwem
    from cryoralib_plugin.viewers import CryoRalibPoses2DViewer
    from pyworkflow.viewer import DESKTOP_TKINTER

    assert CryoRalibPoses2DViewer in pwem.Domain.findViewers(finished.aligned, DESKTOP_TKINTER)
    for items in (finished.particles, finished.averages):
        assert CryoRalibPoses2DViewer not in pwem.Domain.findViewers(items, DESKTOP_TKINTER)
    viewer = CryoRalibPoses2DViewer(project=finished.project)
    angles, shifts = viewer._visualize(finished.aligned)
    counted = sum(bar.get_height() for bar in angles.figure.axes[0].patches)
    assert counted == finished.aligned.getSize() == len(finished.run.particles)
    assert shifts.figure.axes[0].collections[0].get_array().sum() == counted


def test_every_entry_of_the_form_gives_a_view(viewer):
    for name in viewer._getVisualizeDict():
        (view,) = _show(viewer, name)
        figure = getattr(view, "figure", None)
        assert (figure or view.selection.figure()).axes, name


def test_form_has_an_entry_for_every_handler(viewer):
    for name in viewer._getVisualizeDict():
        assert viewer.getParam(name) is not None


def test_chosen_iterations_are_shown_and_others_refused_in_words(viewer):
    viewer.whichIterations.set(1)
    viewer.iterations.set("1,3")
    first, last = _show(viewer, "showGallery")
    assert first.selection.shown.results.iteration == 1
    # Object ids of the output are the classes of the last iteration only.
    assert first.selection.shown.outputs == ()
    assert last.selection.shown.outputs == ("classes", "averages", "particles")
    viewer.iterations.set("2,9")
    (message,) = _show(viewer, "showGallery")
    assert "1 to 3; asked for: 9" in message.getMessage()


def test_outputs_made_after_the_form_was_opened_can_be_selected(finished):
    from cryoralib_plugin.protocols import CryoRalibProtMultirefAlign2D
    from cryoralib_plugin.viewers import CryoRalibAlign2DViewer

    # As the project window held it while it was running: the same run without its outputs.
    stale = CryoRalibProtMultirefAlign2D(project=finished.project)
    stale.setObjId(finished.protocol.getObjId())
    stale.setWorkingDir(finished.protocol.getWorkingDir())
    viewer = CryoRalibAlign2DViewer(project=finished.project, protocol=stale)
    viewer.setProtocol(stale)
    (view,) = _show(viewer, "showGallery")
    assert view.selection.shown.outputs == ("classes", "averages", "particles")


def test_plots_can_be_of_some_classes(viewer):
    viewer.classNumbers.set("1-2")
    (view,) = _show(viewer, "showShifts")
    shown = view.figure.axes[0].collections[0].get_array().sum()
    expected = np.isin(viewer._shown()[0].poses.number, [1, 2]).sum()
    assert shown == expected


def test_run_without_iterations_is_refused_in_words(finished):
    from cryoralib_plugin.protocols import CryoRalibProtMultirefAlign2D
    from cryoralib_plugin.viewers import CryoRalibAlign2DViewer

    protocol = finished.project.newProtocol(CryoRalibProtMultirefAlign2D)
    finished.project.saveProtocol(protocol)
    viewer = CryoRalibAlign2DViewer(project=finished.project, protocol=protocol)
    viewer.setProtocol(protocol)
    assert "No iteration has finished yet" in viewer.validate()[0]


def test_selection_counts_particles_and_keeps_to_classes_that_exist(finished):
    from cryoralib_plugin.viewers.selection import GallerySelection
    from cryoralib_plugin.viewers.shown import shown_iteration

    shown = shown_iteration(finished.protocol.run_dir, 3, finished.classes)
    selection = GallerySelection(shown)
    members = shown.results.classes.n_members
    assert selection.toggle(2)
    assert not selection.toggle(4)  # the dead class has no members to take
    share = 100 * members[1] / members.sum()
    assert selection.words() == f"1 of 4 selected: {members[1]} particles ({share:.1f} %)"
    selection.invert()
    assert selection.chosen == {1, 3}
    selection.choose_all()
    assert selection.chosen == {1, 2, 3}
    assert not selection.toggle(1)
    selection.choose_none()
    assert selection.words() == "Click on averages to select them."


@pytest.mark.parametrize(
    ("output", "class_name"),
    [("classes", "SetOfClasses2D"), ("averages", "SetOfAverages"), ("particles", "SetOfParticles")],
)
def test_selection_becomes_a_subset_in_the_project(finished, output, class_name):
    from cryoralib_plugin.scipion.subsets import new_subset

    run = new_subset(finished.project, finished.classes, {1, 3}, output, f"two {output}")
    finished.project.launchProtocol(run, wait=True)
    assert run.isFinished(), run.getErrorMessage()
    ((_, made),) = run.iterOutputAttributes()
    assert type(made).__name__ == class_name
    members = finished.run.members
    if output == "particles":
        numbers = finished.run.particles["rlnClassNumber"]
        expected = set(finished.run.particles["rlnImageId"][numbers.isin([1, 3])])
        assert made.getIdSet() == expected
        assert len(expected) == members[0] + members[2]
    else:
        assert made.getIdSet() == {1, 3}
    if output == "classes":
        assert [item.getSize() for item in made] == [members[0], members[2]]


def test_averages_of_a_set_become_a_subset(finished):
    from cryoralib_plugin.scipion.subsets import new_subset

    run = new_subset(finished.project, finished.averages, {2}, "averages", "one average")
    finished.project.launchProtocol(run, wait=True)
    ((_, made),) = run.iterOutputAttributes()
    assert made.getIdSet() == {2}


def test_subsets_that_make_no_sense_are_refused_in_words(finished):
    from cryoralib_plugin.scipion.subsets import new_subset

    with pytest.raises(ValueError, match="Nothing is selected"):
        new_subset(finished.project, finished.classes, set(), "classes", "none")
    with pytest.raises(ValueError, match="only averages can be taken"):
        new_subset(finished.project, finished.averages, {1}, "particles", "none")
    with pytest.raises(ValueError, match="classes, averages, particles; it is 'volumes'"):
        new_subset(finished.project, finished.classes, {1}, "volumes", "none")


def test_viewers_keep_their_checks_where_asserts_are_stripped(finished, tmp_path):
    """Project windows run under python -O, which removes every assert."""
    code = f"""
import sys
from cryoralib_plugin.viewers.plots import PLOTS, draw_plot
from cryoralib_plugin.viewers.shown import shown_iteration
from cryoralib_plugin.scipion.subsets import new_subset
shown = shown_iteration({str(finished.run.paths.run_dir)!r}, 3)
for name in PLOTS:
    draw_plot(name, shown).savefig({str(tmp_path)!r} + "/" + name + ".png")
try:
    new_subset(None, None, set(), "classes", "empty")
except ValueError as error:
    sys.exit(0 if "Nothing is selected" in str(error) and not __debug__ else 2)
"""
    done = subprocess.run([sys.executable, "-O", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.glob("*.png"))) == 6
