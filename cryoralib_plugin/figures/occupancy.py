# SPDX-License-Identifier: GPL-3.0-or-later
"""How many particles each class holds, and how well they match it."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from .style import (
    BLUE,
    GREY,
    SMALL_SIZE,
    TEXT_SIZE,
    VERMILION,
    figure_in_words,
    label_axes,
    name_classes,
    new_figure,
)
from .tables import ClassTable, PoseTable


def effective_classes(n_members: np.ndarray) -> float:
    """Return 1 / sum p^2 over the shares p of the classes (inverse Simpson index).

    Parameters
    ----------
    n_members : (n_classes,) particles of each class
    """
    total = n_members.sum()
    if total == 0:
        return 0.0
    return float(total**2 / (n_members.astype(float) ** 2).sum())


def class_occupancy(classes: ClassTable, *, sort_by: str = "size") -> Figure:
    """Draw the number of particles of every class as bars, with the equal share as a line."""
    title = "Class occupancy"
    if len(classes) == 0 or classes.n_members.sum() == 0:
        return figure_in_words("No particle has been assigned to a class.", title=title)
    rows = classes.order(sort_by)
    members, alive = classes.n_members[rows], classes.alive[rows]
    total = int(members.sum())
    figure = new_figure(min(13.0, max(5.5, 2 + 0.28 * len(rows))), 4.0, title=title)
    axes = figure.add_subplot()
    bars = axes.bar(np.arange(len(rows)), members, color=BLUE, width=0.8)
    for bar, is_alive in zip(bars, alive):
        if not is_alive:
            bar.set(facecolor="white", edgecolor=VERMILION, hatch="xx")
    equal = total / len(rows)
    axes.axhline(equal, color=GREY, linestyle="--", linewidth=1.3)
    axes.text(
        len(rows) - 0.4, equal, f"equal share: {equal:,.0f} ", ha="right", va="bottom",
        fontsize=SMALL_SIZE, color="0.3",
    )  # fmt: skip
    dead = int((~alive).sum())
    if dead:
        place = np.flatnonzero(~alive)
        axes.plot(place, members[place], "x", color=VERMILION, clip_on=False, label=f"{dead} dead")
        axes.legend(fontsize=SMALL_SIZE + 1)
    words = f"{total:,} particles; {effective_classes(members):.1f} effective classes (1 / Σ p²)"
    label_axes(axes, x=f"class, by {sort_by}\n{words}", y="particles")
    name_classes(axes, classes.number[rows])
    in_percent: Any = (lambda n: 100 * n / total, lambda percent: percent * total / 100)
    share = axes.secondary_yaxis("right", functions=in_percent)
    share.set_ylabel("share (%)", fontsize=TEXT_SIZE)
    return figure


def score_histogram(poses: PoseTable) -> Figure:
    """Draw the matching scores of all particles; junk shows as a hump or a tail of its own."""
    title = "Matching score"
    score = poses.score[np.isfinite(poses.score)]
    if score.size == 0:
        return figure_in_words("No matching score was recorded.", title=title)
    figure = new_figure(6.0, 3.8, title=title)
    axes = figure.add_subplot()
    axes.hist(score, bins=min(80, max(10, int(np.sqrt(score.size)))), color=BLUE)
    median = float(np.median(score))
    axes.axvline(
        median, color=VERMILION, linestyle="--", linewidth=1.5, label=f"median {median:.4g}"
    )
    axes.legend(fontsize=SMALL_SIZE + 1)
    label_axes(axes, x="score of the best match (units of the program)", y="particles")
    return figure
