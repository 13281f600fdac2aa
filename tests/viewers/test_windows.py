# SPDX-License-Identifier: GPL-3.0-or-later
"""The gallery as a window: clicks select, sorting and paging keep the choice, subsets launch."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("pwem")
pytest.importorskip("tkinter")
# matplotlib 3.8, which Scipion pins, calls names that newer pyparsing renames.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture()
def root(screen):
    import tkinter

    made = tkinter.Tk()
    made.withdraw()
    yield made
    made.destroy()


@pytest.fixture()
def window(root, finished):
    from cryoralib_plugin.viewers.gallery_window import GalleryView
    from cryoralib_plugin.viewers.shown import shown_iteration

    shown = shown_iteration(finished.protocol.run_dir, 3, finished.classes)
    parent = SimpleNamespace(getRoot=lambda: root)
    made = GalleryView(shown, finished.project, parent).show()
    root.update()
    yield made
    made.top.destroy()


def _click(window, number, button=1):
    """Press a mouse button in the middle of an average, as Tk reports it."""
    from cryoralib_plugin.figures import class_of_axes

    (axes,) = [a for a in window._canvas.figure.axes if class_of_axes(a) == number]
    x, y = axes.transAxes.transform((0.5, 0.5))
    widget = window._canvas.get_tk_widget()
    widget.event_generate(
        f"<ButtonPress-{button}>", x=int(x), y=int(widget.winfo_height() - y), when="now"
    )


def test_a_click_selects_and_another_releases(window):
    _click(window, 2)
    assert window.selection.chosen == {2}
    assert window._status.get().startswith("1 of 4 selected")
    _click(window, 2)
    assert window.selection.chosen == set()


def test_choice_outlives_sorting(window):
    _click(window, 1)
    window.sort("resolution")
    ticked = [
        axes.get_gid()
        for axes in window._canvas.figure.axes
        if any(text.get_text() == "✓" and text.get_visible() for text in axes.texts)
    ]
    assert ticked == ["class-1"]


def test_right_button_plots_the_members(window, root):
    before = len(root.winfo_children())
    _click(window, 3, button=3)
    root.update()
    assert window.selection.chosen == set()
    children = [w for w in window.top.winfo_children() if w.winfo_class() == "Toplevel"]
    assert len(children) == 1 and len(root.winfo_children()) == before
    assert children[0].title() == "In-plane angles of class 3"


def test_many_classes_are_paged(root, finished):
    from cryoralib_plugin.viewers.gallery_window import GalleryView
    from cryoralib_plugin.viewers.shown import Shown

    from cryoralib_plugin.figures import ClassTable, IterationResults

    classes = ClassTable(
        np.arange(1, 71), np.arange(70, 0, -1), np.full(70, 9.0), np.ones(70), np.ones(70, bool)
    )
    results = IterationResults(1, "mra", 2.0, 8, 3.0, classes, np.zeros((70, 8, 8), np.float32))
    parent = SimpleNamespace(getRoot=lambda: root)
    window = GalleryView(Shown(results), finished.project, parent).show()
    window.turn(1)
    assert window._page.get() == "page 2 of 2"
    assert len(window._canvas.figure.axes) == 20
    window.turn(1)
    assert window.selection.page == 1
    assert "Selecting needs the outputs" in window._status.get()
    window.top.destroy()


def test_subset_button_launches_the_run_in_the_project_window(window, monkeypatch):
    import pyworkflow.gui.dialog as dialog

    launched, warned = [], []
    window.parent.getViewWidget = lambda: SimpleNamespace(executeProtocol=launched.append)
    monkeypatch.setattr(dialog, "showWarning", lambda title, text, parent: warned.append(text))
    monkeypatch.setattr(dialog, "askString", lambda *a, defaultValue="": defaultValue)
    window.make_subset("particles")
    assert not launched and "Nothing is selected" in warned[0]
    _click(window, 1)
    _click(window, 2)
    window.make_subset("particles")
    assert launched[0].outputClassName.get() == "SetOfParticles"
    assert launched[0].getObjLabel() == "particles of 2 classes"
    assert "was launched" in window._status.get()


def test_a_figure_window_has_a_tool_bar(root):
    from cryoralib_plugin.viewers.figure_window import FigureView

    from cryoralib_plugin.figures import figure_in_words

    FigureView(figure_in_words("Nothing."), "Shifts", SimpleNamespace(getRoot=lambda: root)).show()
    (top,) = root.winfo_children()
    assert top.title() == "Shifts"
    assert len(top.winfo_children()) == 2
