# SPDX-License-Identifier: GPL-3.0-or-later
"""Fourier shell correlation of half maps: as they are, in the mask, and freed of the mask."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .resolution import THRESHOLDS, crossing_inv_angst, resolution_ticks
from .style import (
    BLACK,
    BLUE,
    CYCLE,
    GREEN,
    GREY,
    SMALL_SIZE,
    TEXT_SIZE,
    VERMILION,
    figure_in_words,
    label_axes,
    new_figure,
)
from .tables3d import FscTable, RoundResults

_CURVES = (
    ("unmasked", "unmasked", BLUE, "-", 1.5),
    ("masked", "masked", GREEN, "-", 1.5),
    ("randomised", "phases randomised, masked", VERMILION, "--", 1.2),
    ("corrected", "masked, corrected", BLACK, "-", 2.0),
)
_PANELS = 12


def half_map_fsc(results: RoundResults) -> Figure:
    """Draw the correlation of the half maps of every class with its crossings of 0.5 and 0.143.

    One class fills the figure; several have a panel each, the twelve largest at most.
    """
    title = "Fourier shell correlation of the half maps"
    table = results.fsc
    numbers = [] if table is None else _classes_with_curve(results, table)
    if table is None or not numbers:
        return figure_in_words("No half maps have been compared yet.", title=title)
    if len(numbers) == 1:
        figure = new_figure(8.2, 5.4, title=title)
        _draw_class(figure.add_subplot(), table.of_class(numbers[0]), results, small=False)
        return figure
    shown = numbers[:_PANELS]
    columns = min(3, len(shown))
    rows = -(-len(shown) // columns)
    figure = new_figure(4.6 * columns, 3.9 * rows + 0.3, title=title)
    panels: Any = figure.subplots(rows, columns, squeeze=False)
    for axes in panels.flat[len(shown) :]:
        axes.set_axis_off()
    for number, axes in zip(shown, panels.flat):
        _draw_class(axes, table.of_class(number), results, small=True)
        members = int(results.classes.n_members[results.classes.number == number].sum())
        axes.set_title(f"class {number}, {members:,} particles", fontsize=TEXT_SIZE)
    return figure


def compared_fsc(results: RoundResults) -> Figure:
    """Draw the best known curve of every class in one plot: corrected where there is one."""
    title = "Fourier shell correlation of the classes"
    table = results.fsc
    numbers = [] if table is None else _classes_with_curve(results, table)
    if table is None or not numbers:
        return figure_in_words("No half maps have been compared yet.", title=title)
    figure = new_figure(8.2, 5.4, title=title)
    axes = figure.add_subplot()
    for place, number in enumerate(numbers):
        rows = table.of_class(number)
        curve = next(
            (c for c in (rows.corrected, rows.masked) if np.isfinite(c).any()), rows.unmasked
        )
        named = place < len(CYCLE)
        axes.plot(
            rows.frequency_inv_angst, curve, color=CYCLE[place] if named else "0.7",
            linewidth=1.7 if named else 0.7, zorder=3 if named else 2,
            label=f"class {number}: {_reached(rows.frequency_inv_angst, curve)}"
            if named else None,
        )  # fmt: skip
    _mark_cutoff(axes, results)
    _finish(axes, float(table.frequency_inv_angst.max()), small=False)
    if len(numbers) > len(CYCLE):
        axes.text(0.01, 0.02, f"grey: the other {len(numbers) - len(CYCLE)} classes",
                  transform=axes.transAxes, fontsize=SMALL_SIZE, color="0.3")  # fmt: skip
    return figure


def named_fsc(curves: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Figure:
    """Draw curves of any program under their names, with their crossings of 0.5 and 0.143.

    Parameters
    ----------
    curves : name to frequency (n,), rising, 1/angstrom, and correlation (n,)
    """
    title = "Fourier shell correlation"
    known = {
        name: (frequency, fsc) for name, (frequency, fsc) in curves.items() if frequency.size > 1
    }
    if not known:
        return figure_in_words("There is no curve in this set.", title=title)
    figure = new_figure(8.2, 5.4, title=title)
    axes = figure.add_subplot()
    for place, (name, (frequency, fsc)) in enumerate(known.items()):
        axes.plot(
            frequency,
            fsc,
            ("-", "--", ":")[place // len(CYCLE) % 3],
            color=CYCLE[place % len(CYCLE)],
            linewidth=1.7,
            label=f"{name}: {_reached(frequency, fsc)}",
        )
    _finish(axes, max(float(frequency.max()) for frequency, _ in known.values()), small=False)
    return figure


def _classes_with_curve(results: RoundResults, table: FscTable) -> list[int]:
    """Class numbers that have a curve, largest class first."""
    known = set(table.number[np.isfinite(table.unmasked) | np.isfinite(table.masked)].tolist())
    ordered = [int(results.classes.number[row]) for row in results.classes.order("size")]
    return [number for number in ordered if number in known]


def _draw_class(axes: Axes, rows: FscTable, results: RoundResults, *, small: bool) -> None:
    frequency = rows.frequency_inv_angst
    for name, words, colour, style, width in _CURVES:
        curve = getattr(rows, name)
        if not np.isfinite(curve).any():
            continue
        crossed = name != "randomised"
        label = f"{words}: {_reached(frequency, curve)}" if crossed else words
        axes.plot(frequency, curve, style, color=colour, linewidth=width, label=label)
        if crossed:
            places = [crossing_inv_angst(frequency, curve, t) for t in THRESHOLDS]
            axes.plot(places, THRESHOLDS, "o", color=colour, markersize=5,
                      markeredgecolor="white")  # fmt: skip
    _mark_cutoff(axes, results)
    _finish(axes, float(frequency.max()), small=small)


def _mark_cutoff(axes: Axes, results: RoundResults) -> None:
    """A dotted line where the particles were cut off, if that is known."""
    cutoff = results.cutoff_inv_angst
    if np.isfinite(cutoff) and cutoff > 0:
        words = f"particles compared up to {1 / cutoff:.1f} Å"
        axes.axvline(cutoff, color=GREY, linestyle=":", linewidth=1.5, label=words)


def _finish(axes: Any, last_inv_angst: float, *, small: bool) -> None:
    """Thresholds, axes and legend."""
    for threshold in THRESHOLDS:
        axes.axhline(threshold, color=BLACK, linestyle="--", linewidth=0.8)
        axes.annotate(f" {threshold:g}", (0.0, threshold), xycoords=("axes fraction", "data"),
                      xytext=(0, 2), textcoords="offset points", fontsize=SMALL_SIZE)  # fmt: skip
    axes.axhline(0.0, color="0.6", linewidth=0.6)
    label_axes(axes, x="resolution (Å)", y="FSC")
    axes.set(xlim=(0, last_inv_angst), ylim=(-0.15, 1.05))
    resolution_ticks(axes, last_inv_angst, above=not small)
    legend = axes.legend(
        fontsize=SMALL_SIZE - (1 if small else 0), loc="upper right",
        title="Å at 0.5 / 0.143",
    )  # fmt: skip
    legend.get_title().set_fontsize(SMALL_SIZE - (1 if small else 0))


def _reached(frequency: np.ndarray, curve: np.ndarray) -> str:
    """Both crossings in angstrom; a curve that never falls below is finer than its last shell."""
    words = []
    for threshold in THRESHOLDS:
        crossing = crossing_inv_angst(frequency, curve, threshold)
        finer = "≤ " if crossing >= frequency[-1] else ""
        words.append(f"{finer}{1 / crossing:.1f}" if crossing > 0 else "none")
    return " / ".join(words)
