# SPDX-License-Identifier: GPL-3.0-or-later
"""How class averages grew: one row a class, one column an iteration."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from .contrast import add_scale_bar, grey_range
from .style import SMALL_SIZE, figure_in_words, new_figure
from .tables import ClassTable

MOST_CLASSES, MOST_ITERATIONS = 8, 10


def average_evolution(
    averages: Mapping[int, np.ndarray],
    classes: ClassTable,
    *,
    pixel_size_angst: float,
    radius_px: float | None = None,
) -> Figure:
    """Draw the largest classes at a choice of iterations, each image with its own grey range.

    Parameters
    ----------
    averages : iteration to (n_classes, box, box), class, row, column
    classes : the classes of the last iteration, in the order of the averages
    """
    title = "Averages over the iterations"
    if not averages or len(classes) == 0:
        return figure_in_words("No class averages were written yet.", title=title)
    iterations = _spread(sorted(averages), MOST_ITERATIONS)
    rows = classes.order("size")[:MOST_CLASSES]
    box = next(iter(averages.values())).shape[-1]
    gap = max(1, box // 24)
    pitch = box + gap
    montage = np.ones((len(rows) * pitch - gap, len(iterations) * pitch - gap))
    for line, row in enumerate(rows):
        for column, iteration in enumerate(iterations):
            image = averages[iteration][row]
            low, high = grey_range(image, radius_px)
            place = np.s_[line * pitch : line * pitch + box, column * pitch : column * pitch + box]
            montage[place] = np.clip((image - low) / (high - low), 0, 1)
    cell_in = min(1.2, 11.0 / len(iterations))
    figure = new_figure(1.2 + cell_in * len(iterations), 0.8 + cell_in * len(rows), title=title)
    axes = figure.add_subplot()
    axes.imshow(montage, cmap="gray", vmin=0, vmax=1, interpolation="antialiased", origin="upper")
    axes.set_frame_on(False)
    axes.tick_params(length=0, labelsize=SMALL_SIZE)
    middle = (box - 1) / 2
    axes.set_xticks(
        [middle + pitch * i for i in range(len(iterations))], [str(i) for i in iterations]
    )
    axes.set_yticks(
        middle + pitch * np.arange(len(rows)),
        [f"class {int(classes.number[row])}" for row in rows],
    )
    axes.set_xlabel("iteration", fontsize=SMALL_SIZE + 1)
    add_scale_bar(axes, box, pixel_size_angst)
    return figure


def _spread(values: list[int], most: int) -> list[int]:
    """At most so many values, evenly spread, the first and the last among them."""
    if len(values) <= most:
        return values
    return [values[i] for i in np.unique(np.linspace(0, len(values) - 1, most).round().astype(int))]
