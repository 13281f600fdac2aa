# SPDX-License-Identifier: GPL-3.0-or-later
"""How sure a refinement is of its particles: score, weight and widths of the posterior."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import LogFormatter

from .style import (
    BLUE,
    DENSITY_MAP,
    GREY,
    SMALL_SIZE,
    TEXT_SIZE,
    VERMILION,
    figure_in_words,
    label_axes,
    new_figure,
    plain_log_ticks,
    say_in_words,
)
from .tables3d import RefinedParticles

LOW_SCORE = 0.5
"""A score below this share of the median is counted as low: junk has no map to agree with."""

_NOTHING = "No particle has been refined yet."


def certainty(particles: RefinedParticles | None, *, pixel_size_angst: float | None) -> Figure:
    """Draw score, weight, angular and shift uncertainty of all particles as histograms.

    Particles of low score are drawn in another colour in every panel, so that it shows whether
    they are also those whose orientation is uncertain.

    Parameters
    ----------
    pixel_size_angst : of the maps; None where it is not known.
    """
    title = "Scores, weights and uncertainties"
    if particles is None or len(particles) == 0:
        return figure_in_words(_NOTHING, title=title)
    low = low_scores(particles.score)
    figure = new_figure(10.0, 7.0, title=title)
    panels: Any = figure.subplots(2, 2)
    _histogram(panels[0, 0], particles.score, low, "Score", "score (about 1: as strong as the map)")
    _histogram(panels[0, 1], particles.weight, low, "Weight", "weight in the map")
    _histogram(
        panels[1, 0], particles.angular_std_deg, low, "Angular uncertainty",
        "standard deviation of the rotation (degree)", logarithmic=True,
    )  # fmt: skip
    axes = panels[1, 1]
    drawn = _histogram(axes, particles.shift_std_px, low, "Shift uncertainty",
                       "standard deviation of the shift (px)")  # fmt: skip
    if drawn and pixel_size_angst is not None:
        in_angst: Any = (lambda px: px * pixel_size_angst, lambda angst: angst / pixel_size_angst)
        axes.secondary_xaxis("top", functions=in_angst).tick_params(labelsize=SMALL_SIZE)
        axes.set_title("Shift uncertainty (Å above)", fontsize=TEXT_SIZE + 1)
    if low.any():
        figure.supxlabel(
            f"red: {int(low.sum()):,} of {len(particles):,} particles "
            f"({100 * low.mean():.1f} %) score below half of the median",
            fontsize=SMALL_SIZE + 1,
        )
    return figure


def has_certainty(particles: RefinedParticles) -> bool:
    """Return whether anything is known of scores, weights or uncertainties."""
    known = (particles.score, particles.weight, particles.angular_std_deg, particles.shift_std_px)
    return any(bool(np.isfinite(column).any()) for column in known)


def has_defocus_change(particles: RefinedParticles) -> bool:
    """Return whether the defocus of any particle was refined, and not merely rounded."""
    return bool((np.abs(np.nan_to_num(particles.defocus_factor, nan=1.0) - 1.0) > 1e-6).any())


def low_scores(score: np.ndarray) -> np.ndarray:
    """Return which scores, (n,) bool, lie below half of the median; unknown ones do not."""
    known = np.isfinite(score)
    if not known.any():
        return np.zeros(len(score), bool)
    limit = LOW_SCORE * float(np.median(score[known]))
    return known & (np.where(known, score, np.inf) < limit)


def score_against_uncertainty(particles: RefinedParticles | None) -> Figure:
    """Draw the density of particles over angular uncertainty and score.

    Good particles gather at a high score and a small angle; junk lies below them or to the right.
    """
    title = "Score against angular uncertainty"
    if particles is None or len(particles) == 0:
        return figure_in_words(_NOTHING, title=title)
    angle, score = particles.angular_std_deg, particles.score
    known = np.isfinite(angle) & np.isfinite(score) & (angle > 0)
    if not known.any():
        return figure_in_words("Scores or uncertainties were not recorded.", title=title)
    angle, score = angle[known], score[known]
    figure = new_figure(7.0, 5.2, title=title)
    axes: Any = figure.add_subplot()
    density = axes.hexbin(
        angle, score, gridsize=int(np.clip(np.sqrt(len(score) / 2), 13, 50)), xscale="log",
        mincnt=1, bins="log", cmap=DENSITY_MAP, linewidths=0.1,
    )  # fmt: skip
    median = float(np.median(score))
    axes.axhline(median, color=GREY, linestyle="--", linewidth=1.2)
    axes.axhline(LOW_SCORE * median, color=VERMILION, linestyle="--", linewidth=1.2)
    for height, name in ((median, "median"), (LOW_SCORE * median, "half of it")):
        axes.annotate(f" {name}", (0.0, height), xycoords=("axes fraction", "data"), va="bottom",
                      fontsize=SMALL_SIZE, color="0.15",
                      path_effects=[withStroke(linewidth=2.0, foreground="white")])  # fmt: skip
    label_axes(
        axes, y="score (about 1: as strong as the map)",
        x="standard deviation of the rotation (degree)",
    )  # fmt: skip
    plain_log_ticks(axes.xaxis)
    bar = figure.colorbar(density, ax=axes, pad=0.02)
    bar.ax.yaxis.set_major_formatter(LogFormatter())
    bar.ax.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(1.2, 0.4)))
    bar.set_label("particles in a bin (log scale)", fontsize=TEXT_SIZE)
    return figure


def class_certainty(particles: RefinedParticles | None) -> Figure:
    """Draw the probability of each particle's most likely class as a histogram."""
    title = "Certainty of the class"
    found = None if particles is None else particles.probability
    found = None if found is None else found[np.isfinite(found)]
    if found is None or found.size == 0:
        return figure_in_words("No class probability was recorded.", title=title)
    figure = new_figure(6.0, 3.8, title=title)
    axes: Any = figure.add_subplot()
    axes.hist(found, bins=np.linspace(0.0, 1.0, 41), color=BLUE)
    sure = 100 * float((found >= 0.9).mean())
    label_axes(
        axes, y="particles",
        x=f"probability of the most likely class\n{sure:.0f} % of particles reach 0.9 or more",
    )  # fmt: skip
    axes.set_xlim(0, 1)
    return figure


def defocus_change(particles: RefinedParticles | None) -> Figure:
    """Draw how far defocus was moved, in percent of the given one and in angstrom."""
    title = "Change of the defocus"
    if particles is None or not has_defocus_change(particles):
        return figure_in_words("The defocus was not refined.", title=title)
    factor = particles.defocus_factor
    known = np.isfinite(factor)
    change = 100 * (factor[known] - 1)
    angst = particles.defocus_angst[known] * (1 - 1 / factor[known])
    figure = new_figure(9.6, 3.9, title=title)
    panels: Any = figure.subplots(1, 2)
    for axes, values, unit in ((panels[0], change, "%"), (panels[1], angst, "Å")):
        values = values[np.isfinite(values)]
        if values.size == 0:
            say_in_words(axes, "The defocus itself was not recorded.")
            continue
        edges = _edges(values)
        axes.hist(np.clip(values, edges[0], edges[-1]), bins=edges, color=BLUE)
        axes.axvline(0.0, color=GREY, linewidth=1.0)
        middle, spread = float(np.median(values)), _robust_std(values)
        axes.axvline(middle, color=VERMILION, linestyle="--", linewidth=1.5)
        label_axes(
            axes, y="particles",
            x=f"refined minus given ({unit}); + is more underfocus\n"
            f"median {middle:+.3g} {unit} (dashed), spread {spread:.3g} {unit} (1.48 × MAD)",
        )  # fmt: skip
    return figure


def _histogram(
    axes: Any, values: np.ndarray, low: np.ndarray, title: str, label: str,
    *, logarithmic: bool = False,
) -> bool:  # fmt: skip
    """Bars of all values with those of low score in another colour; False where none is known."""
    known = np.isfinite(values) & ((values > 0) | (not logarithmic))
    if not known.any():
        say_in_words(axes, f"{title}: not recorded")
        return False
    low, values = low[known], values[known]
    median = float(np.median(values))
    edges = np.exp(_edges(np.log(values))) if logarithmic else _edges(values)
    beyond = int(((values < edges[0]) | (values > edges[-1])).sum())
    values = np.clip(values, edges[0], edges[-1])
    axes.hist([values[~low], values[low]], bins=edges, stacked=True, color=[BLUE, VERMILION])
    axes.axvline(median, color="0.15", linestyle="--", linewidth=1.3)
    if logarithmic:
        axes.set_xscale("log")
        plain_log_ticks(axes.xaxis)
    words = f"{label}\nmedian {median:.3g} (dashed)"
    if beyond:
        words += f"; {beyond:,} beyond are in the outer bars"
    label_axes(axes, title=title, x=words, y="particles")
    return True


def _edges(values: np.ndarray) -> np.ndarray:
    """Edges of equal bins; a few values far away must not squeeze all others into one bar."""
    low, high = np.percentile(values, (1.0, 99.0))
    margin = 0.6 * max(float(high - low), 1e-3 * max(abs(float(high)), 1e-6))
    low, high = max(low - margin, values.min()), min(high + margin, values.max())
    if not high > low:
        low, high = low - margin, high + margin
    return np.linspace(low, high, min(80, max(12, int(np.sqrt(values.size)))) + 1)


def _robust_std(values: np.ndarray) -> float:
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))
