# SPDX-License-Identifier: GPL-3.0-or-later
"""Class averages in a window: sort, page, click to select, plot, and make a subset of the rest."""

from __future__ import annotations

import tkinter as tk
from tkinter import filedialog, ttk
from typing import Any, Optional

import pyworkflow.gui.dialog as dialog
from pyworkflow.viewer import View

from cryoralib_plugin.figures import SORT_ORDERS, class_of_axes, mark_selected
from cryoralib_plugin.scipion.subsets import new_subset

from .figure_window import FigureView, embed, open_toplevel
from .plots import PLOTS, draw_plot
from .selection import GallerySelection
from .shown import Shown

_PAD = {"padx": 4, "pady": 4}


class GalleryView(View):
    """Opens a gallery; `selection` holds what it shows, also without a screen."""

    def __init__(self, shown: Shown, project: Any, parent: Any = None, sort_by: str = "size"):
        self.selection = GallerySelection(shown, sort_by)
        self.project = project
        self.parent = parent

    def show(self) -> GalleryWindow:
        """Open the window and return; Scipion's event loop keeps it alive."""
        window = GalleryWindow(self.selection, self.project, self.parent)
        window.wait_if_alone()
        return window


class GalleryWindow:
    """The Tk window of a gallery."""

    def __init__(self, selection: GallerySelection, project: Any, parent: Any = None):
        self.selection = selection
        self.project = project
        self.parent = parent
        self.top, self._own_root = open_toplevel(selection.shown.title, parent)
        self._status = tk.StringVar(self.top)
        self._page = tk.StringVar(self.top)
        self._canvas: Optional[Any] = None
        self._add_tool_bar()
        self._add_bottom_bar()
        self._holder = tk.Frame(self.top, background="white")
        self._holder.pack(side=tk.TOP, fill=tk.BOTH, expand=True)
        self.redraw()

    def wait_if_alone(self) -> None:
        """Run an event loop until the window is closed, where Scipion runs none."""
        if self._own_root is not None:
            self.top.wait_window()
            self._own_root.destroy()

    # ------------------------------------------------------------------ what the user does
    def click(self, event: Any) -> None:
        """Select or release the average under the mouse; with the right button, plot its poses."""
        number = class_of_axes(event.inaxes)
        if number is None:
            return
        if event.button == 3:
            self._show_plot("angles", [number])
        else:
            mark_selected(event.inaxes, self.selection.toggle(number))
            self._canvas.draw_idle()
            self._status.set(self.selection.words())

    def sort(self, sort_by: str) -> None:
        """Sort by another measure."""
        self.selection.sort(sort_by)
        self.redraw()

    def turn(self, step: int) -> None:
        """Go to another page."""
        self.selection.turn(step)
        self.redraw()

    def choose(self, how: str) -> None:
        """Choose "all" or "none", or "invert" the choice."""
        {
            "all": self.selection.choose_all,
            "none": self.selection.choose_none,
            "invert": self.selection.invert,
        }[how]()
        self.redraw()

    def make_subset(self, output: str) -> None:
        """Ask for a name and launch the run that makes a subset."""
        shown = self.selection.shown
        chosen = len(self.selection.chosen)
        name = f"particles of {chosen} classes" if output == "particles" else f"{chosen} {output}"
        try:
            run = new_subset(self.project, shown.items, self.selection.chosen, output, name)
        except ValueError as error:
            dialog.showWarning("Subset", str(error), self.top)
            return
        label = dialog.askString("Subset", "Name of the new run", self.top, defaultValue=name)
        if not label:
            return
        run.setObjLabel(label)
        self._launch(run)
        self._status.set(f'The run "{label}" was launched; see the project window.')

    def save(self) -> None:
        """Save the page as a picture."""
        name = filedialog.asksaveasfilename(
            parent=self.top, defaultextension=".png", initialfile="class_averages.png",
            filetypes=[("PNG", "*.png"), ("PDF", "*.pdf"), ("SVG", "*.svg")],
        )  # fmt: skip
        if name:
            self._canvas.figure.savefig(name)

    # ------------------------------------------------------------------ how it is drawn
    def redraw(self) -> None:
        """Draw the page anew."""
        if self._canvas is not None:
            self._canvas.get_tk_widget().destroy()
        self._canvas = embed(self.selection.figure(), self._holder)
        self._canvas.mpl_connect("button_press_event", self.click)
        self._canvas.get_tk_widget().pack(fill=tk.BOTH, expand=True)
        self._status.set(self.selection.words())
        self._page.set(f"page {self.selection.page + 1} of {self.selection.n_pages}")

    def _add_tool_bar(self) -> None:
        bar = tk.Frame(self.top)
        bar.pack(side=tk.TOP, fill=tk.X)
        tk.Label(bar, text="Sort by").pack(side=tk.LEFT, **_PAD)
        box = ttk.Combobox(bar, values=SORT_ORDERS, state="readonly", width=11)
        box.set(self.selection.sort_by)
        box.bind("<<ComboboxSelected>>", lambda event: self.sort(box.get()))
        box.pack(side=tk.LEFT, **_PAD)
        if self.selection.n_pages > 1:
            for text, step in (("◀", -1), ("▶", 1)):
                self._button(bar, text, lambda step=step: self.turn(step))
            tk.Label(bar, textvariable=self._page).pack(side=tk.LEFT, **_PAD)
        plots = tk.Menubutton(bar, text="Plots ▾", relief=tk.RAISED)
        menu = tk.Menu(plots, tearoff=0)
        for name, plot in PLOTS.items():
            menu.add_command(label=plot.label, command=lambda name=name: self._show_plot(name))
        plots.configure(menu=menu)
        plots.pack(side=tk.RIGHT, **_PAD)
        tk.Button(bar, text="Save picture…", command=self.save).pack(side=tk.RIGHT, **_PAD)

    def _add_bottom_bar(self) -> None:
        bar = tk.Frame(self.top)
        bar.pack(side=tk.BOTTOM, fill=tk.X)
        tk.Label(bar, textvariable=self._status, anchor=tk.W).pack(side=tk.LEFT, **_PAD)
        if not self.selection.shown.outputs:
            return
        for output in reversed(self.selection.shown.outputs):
            button = tk.Button(
                bar, text=f"+ {output.capitalize()}",
                command=lambda output=output: self.make_subset(output),
            )  # fmt: skip
            button.pack(side=tk.RIGHT, **_PAD)
        tk.Label(bar, text="Make a subset:").pack(side=tk.RIGHT, **_PAD)
        for how in ("invert", "none", "all"):
            tk.Button(
                bar, text=how.capitalize(), command=lambda how=how: self.choose(how)
            ).pack(side=tk.RIGHT, **_PAD)  # fmt: skip
        tk.Label(bar, text="Select:").pack(side=tk.RIGHT, **_PAD)

    def _button(self, bar: tk.Frame, text: str, command: Any) -> None:
        tk.Button(bar, text=text, command=command).pack(side=tk.LEFT, **_PAD)

    def _show_plot(self, name: str, numbers: Any = None) -> None:
        chosen = self.selection.chosen if numbers is None else numbers
        figure = draw_plot(name, self.selection.shown, chosen)
        which = f" of class {', '.join(map(str, sorted(chosen)))}" if chosen else ""
        FigureView(figure, PLOTS[name].label + which, _HasRoot(self.top)).show()

    def _launch(self, run: Any) -> None:
        """Launch a run through the project window, which then shows it, or directly."""
        if self.parent is not None and hasattr(self.parent, "getViewWidget"):
            self.parent.getViewWidget().executeProtocol(run)
        else:
            self.project.launchProtocol(run)


class _HasRoot:
    """Lets a Tk window stand for a window of Scipion."""

    def __init__(self, root: tk.Misc):
        self._root = root

    def getRoot(self) -> tk.Misc:
        return self._root
