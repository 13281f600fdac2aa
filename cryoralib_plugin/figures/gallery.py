# SPDX-License-Identifier: GPL-3.0-or-later
"""Class averages side by side: sorted, counted, with their resolution, selectable by axes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .contrast import add_scale_bar, grey_range
from .style import ORANGE, SCREEN_DPI, SMALL_SIZE, TITLE_SIZE, VERMILION, figure_in_words
from .tables import ClassTable

CLASSES_PER_PAGE = 50
_CELL_LABEL_IN = 0.36
_HEADER_IN = 0.62
_MARGIN_IN = 0.12
_CLASS_GID = "class-"
_TICK_GID = "selected"


@dataclass(frozen=True)
class GalleryPage:
    """Which classes are drawn, and how they are ordered.

    Parameters
    ----------
    sort_by : "size", "resolution", "score" or "class"
    page : page to draw, from 0
    per_page : classes on a page
    selected : class numbers drawn as selected
    note : one line under the title, for instance how the resolution was found
    """

    sort_by: str = "size"
    page: int = 0
    per_page: int = CLASSES_PER_PAGE
    selected: frozenset[int] = frozenset()
    note: str = ""


def n_pages(n_classes: int, per_page: int = CLASSES_PER_PAGE) -> int:
    """Return how many gallery pages hold all classes; at least one."""
    return max(1, -(-n_classes // per_page))


def class_gallery(
    averages: np.ndarray,
    classes: ClassTable,
    *,
    pixel_size_angst: float,
    radius_px: float | None = None,
    view: GalleryPage | None = None,
) -> Figure:
    """Draw one page of class averages, each with number, count, share and resolution.

    Greys run over robust percentiles inside the particle's disk, class by class; row 0 is at the
    top. Dead classes are marked by a dashed frame and the word. `class_of_axes` tells which class
    an axes shows, `mark_selected` changes its frame.

    Parameters
    ----------
    averages : (n_classes, box, box), class, row, column; in the order of ``classes``
    radius_px : radius of the particle in pixels, for the grey range
    """
    view = view or GalleryPage()
    if averages.ndim != 3 or averages.shape[1] != averages.shape[2]:
        raise ValueError(
            f"Class averages must be a stack (classes, box, box); the shape is {averages.shape}."
        )
    if len(averages) != len(classes):
        raise ValueError(
            f"There must be one average a class, but there are {len(averages)} averages and "
            f"{len(classes)} classes."
        )
    if len(classes) == 0:
        return figure_in_words("This run has no classes.", title="Class averages")
    pages = n_pages(len(classes), view.per_page)
    if not 0 <= view.page < pages:
        raise ValueError(f"Page must be 0 to {pages - 1}; it is {view.page}.")
    first = view.page * view.per_page
    rows = classes.order(view.sort_by)[first : first + view.per_page]
    columns, lines, cell_in = _grid(len(rows))
    width = columns * cell_in + 2 * _MARGIN_IN
    height = lines * (cell_in + _CELL_LABEL_IN) + _HEADER_IN + _MARGIN_IN
    figure = Figure(figsize=(max(width, 5.2), height), dpi=SCREEN_DPI, facecolor="white")
    _write_header(figure, classes, view, pages)
    width = figure.get_figwidth()
    left_in = (width - columns * cell_in) / 2
    for place, row in enumerate(rows):
        line, column = divmod(place, columns)
        top_in = _HEADER_IN + line * (cell_in + _CELL_LABEL_IN)
        gap = 0.06
        axes = figure.add_axes(
            (
                (left_in + column * cell_in + gap / 2) / width,
                1 - (top_in + cell_in - gap / 2) / height,
                (cell_in - gap) / width,
                (cell_in - gap) / height,
            )
        )
        _draw_class(axes, averages[row], classes, int(row), radius_px)
        mark_selected(axes, int(classes.number[row]) in view.selected)
        if place == 0:
            add_scale_bar(axes, averages.shape[-1], pixel_size_angst)
    return figure


def class_of_axes(axes: Axes | None) -> int | None:
    """Return the class number that an axes of the gallery shows, or None."""
    gid = axes.get_gid() if axes is not None else None
    return int(gid[len(_CLASS_GID) :]) if gid and gid.startswith(_CLASS_GID) else None


def mark_selected(axes: Axes, selected: bool) -> None:
    """Frame a class average as selected (thick frame and a tick) or not."""
    dead = str(axes.get_label()).startswith("dead")
    colour = ORANGE if selected else VERMILION if dead else "0.6"
    for spine in axes.spines.values():
        spine.set(color=colour, linewidth=3.5 if selected else 1.2 if dead else 0.6)
        spine.set_linestyle("--" if dead and not selected else "-")
    for text in [text for text in axes.texts if text.get_gid() == _TICK_GID]:
        text.set_visible(selected)


def _grid(n_shown: int) -> tuple[int, int, float]:
    """Columns, lines and cell size in inches: at most about 1,250 x 850 screen pixels."""
    start = min(10, max(1, int(np.ceil(np.sqrt(1.7 * n_shown)))))
    columns = min(range(start, min(start + 3, 11)), key=lambda count: -n_shown % count)
    lines = -(-n_shown // columns)
    cell_in = min(1.9, 12.0 / columns, 7.4 / lines - _CELL_LABEL_IN)
    return columns, lines, max(cell_in, 0.9)


def _write_header(figure: Figure, classes: ClassTable, view: GalleryPage, pages: int) -> None:
    height = figure.get_figheight()
    total, dead = int(classes.n_members.sum()), int((~classes.alive).sum())
    title = f"{len(classes)} class averages of {total:,} particles, by {view.sort_by}"
    title += f", {dead} dead" if dead else ""
    title += f", page {view.page + 1} of {pages}" if pages > 1 else ""
    figure.text(0.5, 1 - 0.12 / height, title, ha="center", va="top", fontsize=TITLE_SIZE)
    figure.text(
        0.5, 1 - 0.36 / height, view.note, ha="center", va="top", fontsize=SMALL_SIZE, color="0.35"
    )


def _draw_class(
    axes: Axes, image: np.ndarray, classes: ClassTable, row: int, radius_px: float | None
) -> None:
    low, high = grey_range(image, radius_px)
    axes.imshow(
        image, cmap="gray", vmin=low, vmax=high, interpolation="antialiased", origin="upper"
    )
    axes.set_xticks([])
    axes.set_yticks([])
    number, members = int(classes.number[row]), int(classes.n_members[row])
    axes.set_gid(f"{_CLASS_GID}{number}")
    resolution = classes.resolution_angst[row]
    finest = f"{resolution:.1f} Å" if np.isfinite(resolution) else "res. unknown"
    axes.set_xlabel(
        f"class {number}  ·  {finest}\n{members:,}  ({100 * classes.share[row]:.1f} %)",
        fontsize=SMALL_SIZE - 0.5, labelpad=3, linespacing=1.15,
    )  # fmt: skip
    if not classes.alive[row]:
        axes.set_label("dead class")
        word = "empty" if members == 0 else "dead"
        axes.text(
            0.04, 0.95, word, transform=axes.transAxes, ha="left", va="top", color="white",
            fontsize=SMALL_SIZE, bbox={"facecolor": VERMILION, "edgecolor": "none", "pad": 1.5},
        )  # fmt: skip
    axes.text(
        0.95, 0.94, "✓", transform=axes.transAxes, ha="right", va="top", color="black",
        fontsize=TITLE_SIZE, gid=_TICK_GID,
        bbox={"facecolor": ORANGE, "edgecolor": "none", "pad": 1.5},
    )  # fmt: skip
