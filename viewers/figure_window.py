# SPDX-License-Identifier: GPL-3.0-or-later
"""A figure in a Tk window of Scipion, with matplotlib's tool bar to zoom and to save it."""

from __future__ import annotations

import tkinter as tk
from typing import Any, Optional

from matplotlib.backends.backend_tkagg import FigureCanvasTkAgg, NavigationToolbar2Tk
from matplotlib.figure import Figure
from pyworkflow.viewer import View


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
