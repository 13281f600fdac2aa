# SPDX-License-Identifier: GPL-3.0-or-later
"""Fourier ring correlation between the two halves of every class."""

from __future__ import annotations

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter

from .style import BLACK, CYCLE, SMALL_SIZE, TEXT_SIZE, figure_in_words, label_axes, new_figure
from .tables import ClassTable, FrcTable

THRESHOLDS = (0.5, 0.143)
_NAMED_CURVES = 6
_ROUND_RESOLUTIONS = (200, 100, 50, 30, 20, 15, 12, 10, 8, 7, 6, 5, 4, 3.5, 3, 2.5, 2, 1.5, 1)


def crossing_inv_angst(frequency_inv_angst: np.ndarray, frc: np.ndarray, threshold: float) -> float:
    """Return the frequency at which a curve first falls below the threshold, between two rings.

    Parameters
    ----------
    frequency_inv_angst, frc : (n_rings,), rising frequency in 1/angstrom

    Returns
    -------
    1/angstrom by linear interpolation; the last ring's frequency for a curve that never falls
    below; NaN for an empty curve or one that starts below.
    """
    known = np.isfinite(frc)
    frequency, frc = frequency_inv_angst[known], frc[known]
    if frc.size == 0 or frc[0] < threshold:
        return float("nan")
    below = np.flatnonzero(frc < threshold)
    if below.size == 0:
        return float(frequency[-1])
    k = below[0]
    part = (frc[k - 1] - threshold) / (frc[k - 1] - frc[k])
    return float(frequency[k - 1] + part * (frequency[k] - frequency[k - 1]))


def frc_curves(frc: FrcTable | None, classes: ClassTable, *, pixel_size_angst: float) -> Figure:
    """Draw the FRC of every class with its crossings of 0.5 and 0.143.

    The six largest classes are named, the others drawn thin. Both halves share one alignment, so
    the curves are optimistic at low signal; the figure says so.
    """
    title = "Fourier ring correlation of class halves"
    numbers = [] if frc is None else [n for n in classes.number if (frc.number == n).any()]
    if frc is None or not numbers:
        return figure_in_words("No class has two halves to compare.", title=title)
    rows = [row for row in classes.order("size") if classes.number[row] in numbers]
    figure = new_figure(8.2, 5.4, title=title)
    axes = figure.add_subplot()
    thin = colormaps["Greys"](0.38)
    for rank, row in reversed(list(enumerate(rows))):
        number = int(classes.number[row])
        frequency, curve = frc.curve(number)
        if rank >= _NAMED_CURVES:
            axes.plot(frequency, curve, color=thin, linewidth=0.7, alpha=0.8)
            continue
        colour = CYCLE[rank]
        half = crossing_inv_angst(frequency, curve, 0.5)
        gold = crossing_inv_angst(frequency, curve, 0.143)
        reached = " / ".join(_angst(crossing, frequency[-1]) for crossing in (half, gold))
        name = f"class {number} ({int(classes.n_members[row]):,}): {reached}"
        axes.plot(frequency, curve, color=colour, linewidth=1.7, label=name)
        axes.plot(
            [half, gold], THRESHOLDS, "o", color=colour, markersize=5, markeredgecolor="white"
        )
    nyquist = 0.5 / pixel_size_angst
    for threshold in THRESHOLDS:
        axes.axhline(threshold, color=BLACK, linestyle="--", linewidth=0.9)
        axes.text(nyquist, threshold + 0.012, f"{threshold:g} ", ha="right", fontsize=SMALL_SIZE)
    label_axes(axes, y="FRC", x="resolution (Å)\nhalves share one alignment: read it as optimistic")
    axes.set(xlim=(0, nyquist), ylim=(-0.25, 1.05))
    resolution_ticks(axes, nyquist)
    handles, names = axes.get_legend_handles_labels()
    legend = axes.legend(
        handles[::-1], names[::-1], fontsize=SMALL_SIZE, loc="upper right",
        title="class (particles): Å at 0.5 / 0.143",
    )  # fmt: skip
    legend.get_title().set_fontsize(SMALL_SIZE)
    if len(rows) > _NAMED_CURVES:
        axes.text(0.01, 0.02, f"grey: the other {len(rows) - _NAMED_CURVES} classes",
                  transform=axes.transAxes, fontsize=SMALL_SIZE, color="0.3")  # fmt: skip
    return figure


def _angst(crossing: float, last: float) -> str:
    if not crossing > 0:
        return "none"
    return f"{'≤ ' if crossing >= last else ''}{1 / crossing:.1f} Å"


def resolution_ticks(axes: Axes, last_inv_angst: float, *, above: bool = True) -> None:
    """Label a frequency axis below in angstrom and, where wanted, above in 1/angstrom."""
    axes.xaxis.set_major_locator(FixedLocator(round_resolutions(last_inv_angst)))
    axes.xaxis.set_major_formatter(FuncFormatter(in_angst))
    if above:
        top = axes.secondary_xaxis("top")
        top.set_xlabel("spatial frequency (1/Å)", fontsize=TEXT_SIZE)
        top.tick_params(labelsize=SMALL_SIZE + 1)


def round_resolutions(last_inv_angst: float) -> list[float]:
    """Return frequencies of round resolutions, 1/angstrom, far enough apart to be labelled."""
    places: list[float] = []
    for resolution in _ROUND_RESOLUTIONS:
        place = 1.0 / resolution
        if place <= last_inv_angst and (not places or place - places[-1] > 0.055 * last_inv_angst):
            places.append(place)
    return places


def in_angst(frequency_inv_angst: float, _: object = None) -> str:
    """Return the label of a frequency on an axis: its resolution in angstrom."""
    return f"{1 / frequency_inv_angst:.3g}" if frequency_inv_angst > 0 else ""
