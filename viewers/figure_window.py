# SPDX-License-Identifier: GPL-3.0-or-later
"""A figure in a Tk window of Scipion, with matplotlib's tool bar to zoom and to save it."""

from __future__ import annotations

import subprocess
import tkinter as tk
from typing import Any, Callable, List, Optional, Tuple

import pyworkflow.gui.dialog as dialog
from matplotlib.backends.backend_tkagg import FigureCanvasTkAgg, NavigationToolbar2Tk
from matplotlib.figure import Figure
from pyworkflow.viewer import View

_POLL_MS = 300


class FigureView(View):
    """A figure that Scipion shows in a window; without a screen `figure` is saved instead."""

    def __init__(self, figure: Figure, title: str, parent: Any = None):
        self.figure = figure
        self.title = title
        self.parent = parent

    def show(self) -> None:
        """Open the window and return; Scipion's event loop keeps it alive."""
        top, own_root = open_toplevel(self.title, self.parent)
        canvas = embed(self.figure, top)
        toolbar = NavigationToolbar2Tk(canvas, top, pack_toolbar=False)
        toolbar.pack(side=tk.BOTTOM, fill=tk.X)
        canvas.get_tk_widget().pack(side=tk.TOP, fill=tk.BOTH, expand=True)
        if own_root is not None:
            top.wait_window()
            own_root.destroy()


class PendingView(View):
    """Figures that another program must compute first; the windows stay alive meanwhile.

    Parameters
    ----------
    start
        Starts the program; its stderr is a pipe of text.
    then
        Titles and figures of what it left; called when it has succeeded.
    """

    def __init__(
        self,
        start: Callable[[], subprocess.Popen],
        then: Callable[[], List[Tuple[str, Figure]]],
        title: str,
        parent: Any = None,
    ):
        self.start = start
        self.then = then
        self.title = title
        self.parent = parent

    def wait(self) -> List[FigureView]:
        """Run the program to its end; the views of its figures. ValueError if it fails."""
        process = self.start()
        _, said = process.communicate()
        if process.returncode != 0:
            raise ValueError(_last_line(said))
        return self._views()

    def show(self) -> None:
        """Open a small window that is replaced by the figures, and return."""
        top, own_root = open_toplevel(self.title, self.parent)
        tk.Label(top, text=f"{self.title} …", padx=40, pady=20).pack()
        process = self.start()
        self._poll(process, top)
        if own_root is not None:
            top.wait_window()
            own_root.destroy()

    def _poll(self, process: subprocess.Popen, top: tk.Toplevel) -> None:
        """Look again later, unless the program has ended or the window was closed."""
        if process.poll() is None:
            top.after(_POLL_MS, self._poll, process, top)
            return
        master = top.master
        top.destroy()
        if process.returncode != 0:
            said = process.stderr.read() if process.stderr else ""
            dialog.showError(self.title, _last_line(said), master)
            return
        for view in self._views():
            view.show()

    def _views(self) -> List[FigureView]:
        return [FigureView(figure, title, self.parent) for title, figure in self.then()]


def open_toplevel(title: str, parent: Any = None) -> tuple[tk.Toplevel, Optional[tk.Tk]]:
    """Open a window over a window of Scipion, or over a hidden root of its own.

    Returns
    -------
    top
        The new window.
    own_root
        The hidden root, whose event loop the caller must run; None inside Scipion.
    """
    own_root = None
    if parent is not None and hasattr(parent, "getRoot"):
        master = parent.getRoot()
    else:
        master = own_root = tk.Tk()
        own_root.withdraw()
    top = tk.Toplevel(master)
    top.title(title)
    return top, own_root


def embed(figure: Figure, master: tk.Misc) -> FigureCanvasTkAgg:
    """Return the canvas of a figure inside a Tk widget, drawn at once."""
    canvas = FigureCanvasTkAgg(figure, master=master)
    canvas.draw()
    return canvas


def _last_line(said: str) -> str:
    """The program's own message, which it says last."""
    lines = said.strip().splitlines()
    return lines[-1] if lines else "The program ended without a word."
