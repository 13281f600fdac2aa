# SPDX-License-Identifier: GPL-3.0-or-later
"""How a run settled: classes, errors, changes, score and time, iteration by iteration."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .style import (
    BLUE,
    CYCLE,
    SMALL_SIZE,
    VERMILION,
    figure_in_words,
    label_axes,
    new_figure,
    say_in_words,
)
from .tables import History


def convergence(history: History) -> Figure:
    """Draw six panels over the iterations: classes, movement, changes, score, resolution, time.

    A panel without numbers says so; one iteration is drawn as points.
    """
    title = "Convergence"
    if len(history) == 0:
        return figure_in_words("No iteration has finished yet.", title=title)
    figure = new_figure(11.5, 6.6, title=title)
    panels: Any = figure.subplots(2, 3)
    _classes(panels[0, 0], history)
    _line(panels[0, 1], history, "pixel_error_px", "Pixel error", "rms movement of a particle (px)")
    _line(panels[0, 2], history, "changed_fraction", "Changes", "changed class (%)", 100)
    _line(panels[1, 0], history, "mean_score", "Score", "mean score of the best match")
    _line(panels[1, 1], history, "resolution_best_angst", "Best class", "FRC resolution (Å)")
    _seconds(panels[1, 2], history)
    for axes in panels.flat:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def _line(
    axes: Axes, history: History, name: str, title: str, label: str, factor: float = 1.0
) -> None:
    column = history.get(name)
    if column is None:
        say_in_words(axes, f"{title}: not recorded")
        return
    column = np.where(np.isfinite(column), column, np.nan)
    axes.plot(history.columns["iteration"], factor * column, "o-", color=BLUE, markersize=4)
    label_axes(axes, title=title, x="iteration", y=label)
    low, high = np.nanmin(factor * column), np.nanmax(factor * column)
    if low >= 0 and high > 0 and low < 0.5 * high:
        axes.set_ylim(bottom=0)


def _classes(axes: Axes, history: History) -> None:
    iteration = history.columns["iteration"]
    effective, dead = history.get("effective_classes"), history.get("dead_classes")
    if effective is None and dead is None:
        say_in_words(axes, "Classes: not recorded")
        return
    if effective is not None:
        axes.plot(iteration, effective, "o-", color=BLUE, markersize=4, label="effective")
    if dead is not None:
        axes.plot(iteration, dead, "s--", color=VERMILION, markersize=4, label="dead")
    label_axes(axes, title="Classes", x="iteration", y="classes")
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=SMALL_SIZE)


def _seconds(axes: Axes, history: History) -> None:
    phases = history.phase_seconds
    phases = {name: seconds for name, seconds in phases.items() if name != "total"} or phases
    if not phases:
        say_in_words(axes, "Time: not recorded")
        return
    iteration, bottom = history.columns["iteration"], np.zeros(len(history))
    for place, (name, seconds) in enumerate(phases.items()):
        seconds = np.nan_to_num(seconds)
        colour = CYCLE[place % len(CYCLE)]
        axes.bar(iteration, seconds, bottom=bottom, color=colour, label=name.replace("_", " "))
        bottom = bottom + seconds
    label_axes(axes, title="Time", x="iteration", y="seconds an iteration")
    axes.set_ylim(0, 1.35 * max(float(bottom.max()), 1e-9))
    axes.legend(fontsize=SMALL_SIZE - 1, ncols=2, loc="upper center")
