# SPDX-License-Identifier: GPL-3.0-or-later
"""Grey range of a picture and the length of its scale bar."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

from .style import SMALL_SIZE

# Outliers (hot pixels, ringing at a mask's edge) must not decide the greys of the molecule.
LOW_PERCENTILE, HIGH_PERCENTILE = 0.5, 99.5


def grey_range(image: np.ndarray, radius_px: float | None = None) -> tuple[float, float]:
    """Return the values shown black and white: robust percentiles inside the particle's disk.

    Parameters
    ----------
    image : (box, box), row, column
    radius_px : radius of the disk round pixel N // 2; None or 0 means the inscribed one
    """
    box = image.shape[-1]
    radius = radius_px if radius_px and radius_px > 0 else box // 2
    row, column = np.ogrid[:box, :box]
    inside = (row - box // 2) ** 2 + (column - box // 2) ** 2 <= radius**2
    values = image[inside]
    values = values[np.isfinite(values)]
    if values.size == 0:
        return 0.0, 1.0
    low, high = np.percentile(values, (LOW_PERCENTILE, HIGH_PERCENTILE))
    if high <= low:  # a constant image is drawn mid-grey
        return float(low) - 1.0, float(low) + 1.0
    return float(low), float(high)


def bar_length_angst(width_angst: float) -> float:
    """Return the longest of 1, 2, 5 times a power of ten that is at most a third of the width."""
    if not (np.isfinite(width_angst) and width_angst > 0):
        raise ValueError(
            f"A picture with a scale bar must be wider than 0 angstrom; it is {width_angst}."
        )
    limit = width_angst / 3.0 * (1 + 1e-9)
    power = 10.0 ** np.floor(np.log10(limit))
    return float(max(step * power for step in (1.0, 2.0, 5.0) if step * power <= limit))


def add_scale_bar(axes: Axes, box_size_px: int, pixel_size_angst: float) -> None:
    """Draw a white bar with its length in angstrom in the lower left corner of an image."""
    length = bar_length_angst(box_size_px * pixel_size_angst)
    length_px = length / pixel_size_angst
    margin, height = 0.05 * box_size_px, 0.025 * box_size_px
    left, top = -0.5 + margin, box_size_px - 0.5 - margin - height
    outline = [withStroke(linewidth=2.5, foreground="black")]
    axes.add_patch(
        Rectangle(
            (left, top), length_px, height, color="white", path_effects=outline, gid="scale-bar"
        )
    )
    axes.text(
        left + length_px / 2, top - 0.02 * box_size_px, f"{length:g} Å", color="white",
        fontsize=SMALL_SIZE, ha="center", va="bottom", path_effects=outline,
    )  # fmt: skip
