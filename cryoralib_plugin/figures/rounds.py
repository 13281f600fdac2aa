# SPDX-License-Identifier: GPL-3.0-or-later
"""A 3D refinement round by round: resolution, cut-off, uncertainty, classes and time."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator

from .resolution import in_angst, round_resolutions
from .style import (
    BLACK,
    BLUE,
    CYCLE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    SMALL_SIZE,
    TEXT_SIZE,
    VERMILION,
    figure_in_words,
    label_axes,
    new_figure,
    plain_log_ticks,
    say_in_words,
)
from .tables import History

_STAGE_COLOURS = {"global": SKY, "local": GREEN, "defocus": ORANGE}
_SHARE = "class_share_"
_MOST_NAMED = 8


def progress(history: History) -> Figure:
    """Draw six panels over the rounds, the stages shaded: resolution and what it rests on.

    A panel without numbers says so; one round is drawn as points.
    """
    title = "Round by round"
    if len(history) == 0:
        return figure_in_words("No round has finished yet.", title=title)
    figure = new_figure(11.5, 7.0, title=title)
    panels: Any = figure.subplots(2, 3)
    _resolution(panels[0, 0], history)
    _lines(
        panels[0, 1], history, "Rotations", "median (degree)",
        {"median_angular_std_deg": "uncertainty", "median_rotation_change_deg": "change"},
        logarithmic=True,
    )  # fmt: skip
    _lines(panels[0, 2], history, "Shifts", "median uncertainty (px)", {"median_shift_std_px": ""})
    _lines(panels[1, 0], history, "Score", "median score", {"median_score": ""})
    _lines(panels[1, 1], history, "Phases", "phases a particle and round", {"mean_phases": ""})
    _seconds(panels[1, 2], history)
    for axes in panels.flat:
        _finish(axes, history)
    _name_stages(figure, history)
    return figure


def resolution_and_cutoff(history: History) -> Figure:
    """Draw resolution and cut-off of every round, the stages shaded."""
    title = "Resolution and cut-off"
    if len(history) == 0:
        return figure_in_words("No round has finished yet.", title=title)
    figure = new_figure(8.0, 4.8, title=title)
    axes = figure.add_subplot()
    _resolution(axes, history)
    axes.set_title("")
    _finish(axes, history)
    _name_stages(figure, history)
    return figure


def class_shares(history: History) -> Figure:
    """Draw the share of particles in every class, round by round, as stacked bars."""
    title = "Class occupancy round by round"
    names = sorted(name for name in history.columns if name.startswith(_SHARE))
    if len(history) == 0 or len(names) < 2:
        return figure_in_words("This run has one class, which holds every particle.", title=title)
    figure = new_figure(8.0, 4.6, title=title)
    axes = figure.add_subplot()
    rounds, bottom = history.columns["iteration"], np.zeros(len(history))
    for place, name in enumerate(names):
        share = 100 * np.nan_to_num(history.columns[name])
        many = len(names) > _MOST_NAMED
        colour = colormaps["viridis"](place / (len(names) - 1)) if many else CYCLE[place]
        number = int(name[len(_SHARE) :])
        words = None if many else f"class {number}: {share[-1]:.0f} %"
        axes.bar(rounds, share, bottom=bottom, width=0.85, color=colour, edgecolor="white",
                 linewidth=0.5, label=words)  # fmt: skip
        bottom = bottom + share
    label_axes(axes, x=f"round\n{len(names)} classes, the first at the bottom",
               y="share of particles (%)")  # fmt: skip
    axes.set(xlim=(rounds[0] - 0.6, rounds[-1] + 0.6), ylim=(0, 100))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if len(names) <= _MOST_NAMED:
        figure.legend(loc="outside right center", fontsize=SMALL_SIZE + 1, reverse=True,
                      title="in the last round")  # fmt: skip
    return figure


def _resolution(axes: Axes, history: History) -> None:
    """Frequencies, labelled in angstrom, so that a shell is as high everywhere."""
    rounds = history.columns["iteration"]
    drawn: list[np.ndarray] = []
    for name, words, colour, style in (
        ("resolution_angst", "resolution (FSC)", BLACK, "o-"),
        ("resolution_unmasked_angst", "without mask", BLUE, "^:"),
        ("cutoff_angst", "compared up to", VERMILION, "s--"),
    ):
        column = history.get(name)
        if column is None:
            continue
        frequency = np.where(np.isfinite(column) & (column > 0), 1.0 / column, np.nan)
        if not np.isfinite(frequency).any():
            continue
        finest = 1.0 / np.nanmax(frequency)
        axes.plot(rounds, frequency, style, color=colour, markersize=4, linewidth=1.4,
                  label=f"{words}: finest {finest:.1f} Å")  # fmt: skip
        drawn.append(frequency)
    if not drawn:
        say_in_words(axes, "Resolution: not recorded")
        return
    top = 1.6 * max(float(np.nanmax(frequency)) for frequency in drawn)
    label_axes(axes, title="Resolution", x="round", y="resolution (Å), finer is higher")
    axes.set_ylim(0, top)
    axes.yaxis.set_major_locator(FixedLocator(round_resolutions(top)))
    axes.yaxis.set_major_formatter(FuncFormatter(in_angst))
    axes.legend(fontsize=SMALL_SIZE, loc="upper left", framealpha=0.9)


def _lines(
    axes: Axes, history: History, title: str, label: str, columns: dict[str, str],
    *, logarithmic: bool = False,
) -> None:  # fmt: skip
    """Some columns over the rounds; those that were not recorded are left out."""
    known = [(name, words) for name, words in columns.items() if history.get(name) is not None]
    if not known:
        say_in_words(axes, f"{title}: not recorded")
        return
    highest, lowest = 0.0, np.inf
    for (name, words), colour, style in zip(known, (BLUE, PURPLE), ("o-", "s--")):
        column = history.columns[name]
        column = np.where(np.isfinite(column) & ((column > 0) | (not logarithmic)), column, np.nan)
        axes.plot(history.columns["iteration"], column, style, color=colour, markersize=4,
                  label=words or None)  # fmt: skip
        if np.isfinite(column).any():
            highest, lowest = max(highest, np.nanmax(column)), min(lowest, np.nanmin(column))
    label_axes(axes, title=title, x="round", y=label)
    if logarithmic and highest > 10 * lowest:
        axes.set_yscale("log")
        plain_log_ticks(axes.yaxis)
    elif 0 <= lowest < 0.6 * highest:
        axes.set_ylim(0, 1.12 * highest)
    if len(known) > 1:
        axes.legend(fontsize=SMALL_SIZE)


def _seconds(axes: Axes, history: History) -> None:
    phases = history.phase_seconds
    phases = {name: seconds for name, seconds in phases.items() if name != "total"} or phases
    if not phases:
        say_in_words(axes, "Time: not recorded")
        return
    bottom = np.zeros(len(history))
    for place, (name, seconds) in enumerate(phases.items()):
        seconds = np.nan_to_num(seconds)
        axes.bar(history.columns["iteration"], seconds, bottom=bottom,
                 color=CYCLE[place % len(CYCLE)], label=name.replace("_", " "))  # fmt: skip
        bottom = bottom + seconds
    label_axes(axes, title=f"Time ({_minutes(float(bottom.sum()))} in all)", x="round",
               y="seconds a round")  # fmt: skip
    axes.set_ylim(0, 1.35 * max(float(bottom.max()), 1e-9))
    axes.legend(fontsize=SMALL_SIZE - 1, ncols=2, loc="upper center")


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.1f} min"


def _finish(axes: Axes, history: History) -> None:
    """Stages as coloured bands behind the curves."""
    if not axes.axison:
        return
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    rounds = history.columns["iteration"]
    axes.set_xlim(rounds[0] - 0.6, rounds[-1] + 0.6)
    for first, last, stage in _bands(history):
        axes.axvspan(first - 0.5, last + 0.5, color=_STAGE_COLOURS.get(stage, GREY), alpha=0.16,
                     linewidth=0, zorder=0)  # fmt: skip


def _name_stages(figure: Figure, history: History) -> None:
    """What the bands mean, in one line below."""
    stages = dict.fromkeys(stage for _, _, stage in _bands(history))
    if stages:
        figure.legend(
            handles=[
                Patch(color=_STAGE_COLOURS.get(stage, GREY), alpha=0.3, label=f"{stage} search")
                for stage in stages
            ],
            loc="outside lower center", ncols=len(stages), fontsize=TEXT_SIZE - 1, frameon=False,
        )  # fmt: skip


def _bands(history: History) -> list[tuple[float, float, str]]:
    """First and last round of every run of rounds of one stage."""
    bands: list[tuple[float, float, str]] = []
    for number, stage in zip(history.columns.get("iteration", ()), history.stages):
        if bands and bands[-1][2] == stage:
            bands[-1] = (bands[-1][0], float(number), stage)
        else:
            bands.append((float(number), float(number), stage))
    return bands
