# SPDX-License-Identifier: GPL-3.0-or-later
"""One look for all figures: colours that colour-blind readers tell apart, sizes for a screen."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter

# Okabe and Ito's palette: distinct under the three common forms of colour blindness.
BLUE = "#0072B2"
ORANGE = "#E69F00"
GREEN = "#009E73"
VERMILION = "#D55E00"
SKY = "#56B4E9"
PURPLE = "#CC79A7"
YELLOW = "#F0E442"
BLACK = "#000000"
GREY = "#7F7F7F"
CYCLE = (BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILION, YELLOW, BLACK)
DENSITY_MAP = "viridis"

TITLE_SIZE = 12
TEXT_SIZE = 10
SMALL_SIZE = 8
SCREEN_DPI = 100


def new_figure(width_in: float, height_in: float, *, title: str = "") -> Figure:
    """Return an empty figure of a size in inches at 100 pixels an inch, laid out by itself.

    It belongs to no window and to no pyplot state, so it can be drawn in any thread, embedded in Tk
    or saved without a screen.
    """
    layout = ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08)
    figure = Figure(figsize=(width_in, height_in), dpi=SCREEN_DPI, layout=layout)
    figure.set_facecolor("white")
    if title:
        figure.suptitle(title, fontsize=TITLE_SIZE)
    return figure


def label_axes(axes: Axes, *, title: str = "", x: str = "", y: str = "") -> None:
    """Write title and axis labels, with units, in the common sizes, and a quiet grid."""
    axes.set_title(title, fontsize=TEXT_SIZE + 1)
    axes.set_xlabel(x, fontsize=TEXT_SIZE)
    axes.set_ylabel(y, fontsize=TEXT_SIZE)
    axes.tick_params(labelsize=SMALL_SIZE + 1)
    axes.grid(True, color="0.9", linewidth=0.7)
    axes.set_axisbelow(True)


def plain_log_ticks(axis: Axis) -> None:
    """Label a logarithmic axis 1, 2, 5, 10, ..., or 1, 10, 100 over more than two decades."""

    def name(value: float, _: object) -> str:
        low, high = sorted(axis.get_view_interval())
        digits = (1, 2, 5) if high < 100 * low else (1,)
        digit = value / 10.0 ** np.floor(np.log10(value) + 1e-9)
        return f"{value:g}" if round(digit) in digits else ""

    axis.set_major_formatter(FuncFormatter(name))
    axis.set_minor_formatter(FuncFormatter(name))
    axis.set_tick_params(which="minor", labelsize=SMALL_SIZE + 1)


def name_classes(axes: Axes, numbers: np.ndarray) -> None:
    """Put class numbers under bars 0, 1, 2, ...; every n-th only where they would overlap."""
    stride = max(1, -(-len(numbers) // 50))
    axes.set_xticks(np.arange(len(numbers))[::stride], [str(n) for n in numbers[::stride]])
    axes.set_xlim(-0.7, len(numbers) - 0.3)


def say_in_words(axes: Axes, message: str) -> None:
    """Replace an empty plot by a sentence that says what is missing."""
    axes.set_axis_off()
    axes.text(
        0.5, 0.5, message, transform=axes.transAxes, ha="center", va="center",
        fontsize=TEXT_SIZE, color="0.35", wrap=True,
    )  # fmt: skip


def figure_in_words(message: str, *, title: str = "") -> Figure:
    """Return a figure that holds a sentence only."""
    figure = new_figure(6.0, 2.0, title=title)
    say_in_words(figure.add_subplot(), message)
    return figure
