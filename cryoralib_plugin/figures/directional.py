# SPDX-License-Identifier: GPL-3.0-or-later
"""Resolution along directions: where a map is blurred because few particles looked there."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .resolution import crossing_inv_angst, in_angst, resolution_ticks
from .sphere import draw_sphere, mark_symmetry, raster_directions
from .style import (
    BLACK,
    BLUE,
    DENSITY_MAP,
    SKY,
    SMALL_SIZE,
    TEXT_SIZE,
    VERMILION,
    figure_in_words,
    label_axes,
    new_figure,
)
from .tables3d import DirectionalFsc

THRESHOLD = 0.143
LOWEST_AREA_RATIO, LOWEST_SAMPLING = 0.5, 0.81
"""Below these a map is called anisotropic: cFAR of cryoSPARC, SCF* of Baldwin and Lyumkis."""


def directional_fsc(found: DirectionalFsc | None, *, symmetry: str = "C1") -> Figure:
    """Draw the resolution along every direction on the sphere, and the curves it comes from."""
    title = "Directional Fourier shell correlation"
    if found is None or len(found.directions) == 0:
        return figure_in_words(
            "Directional correlations are computed by the report program; it has not run on this "
            "round.", title=title,
        )  # fmt: skip
    reached = np.array(
        [crossing_inv_angst(found.frequency_inv_angst, curve, THRESHOLD) for curve in found.curves]
    )
    figure = new_figure(12.0, 5.4, title=title)
    panels: Any = figure.subplots(1, 2, width_ratios=(1.25, 1.0))
    _draw_map(figure, panels[0], found, reached, symmetry)
    _draw_curves(panels[1], found)
    figure.supxlabel(_verdict(found, reached), fontsize=TEXT_SIZE)
    return figure


def _draw_map(
    figure: Figure, axes: Axes, found: DirectionalFsc, reached: np.ndarray, symmetry: str
) -> None:
    grid, _ = raster_directions(480)
    nearest = np.abs(grid.reshape(-1, 3) @ found.directions.T).argmax(axis=1)
    raster = reached[nearest].reshape(grid.shape[:2])
    low, high = (np.nanmin(reached), np.nanmax(reached)) if np.isfinite(reached).any() else (0, 1)
    if high - low < 0.02 * high:
        # One colour for one resolution, rather than the scatter of the curves enlarged.
        low, high = 0.9 * low, 1.1 * high
    image = draw_sphere(axes, raster, cmap=DENSITY_MAP, vmin=low, vmax=high)
    mark_symmetry(axes, symmetry, 480)
    bar = figure.colorbar(image, ax=axes, shrink=0.75, pad=0.02, orientation="horizontal")
    ticks = np.linspace(low, high, 5)
    bar.set_ticks(ticks.tolist(), labels=[in_angst(tick) for tick in ticks])
    bar.set_label(f"resolution at {THRESHOLD} (Å), finer to the right", fontsize=TEXT_SIZE)
    axes.set_title("along directions in the map (rot, tilt)", fontsize=TEXT_SIZE)


def _draw_curves(axes: Axes, found: DirectionalFsc) -> None:
    frequency, curves = found.frequency_inv_angst, found.curves
    axes.plot(frequency, curves.T, color=SKY, linewidth=0.5, alpha=0.6)
    axes.plot([], [], color=SKY, label=f"{len(curves)} directions, cones of 20°")
    for curve, words, colour, style in (
        (curves.mean(axis=0), "mean", BLACK, "-"),
        (curves[_area(curves).argmin()], "smallest area", VERMILION, "--"),
        (curves[_area(curves).argmax()], "largest area", BLUE, "-."),
    ):
        crossing = crossing_inv_angst(frequency, curve, THRESHOLD)
        words += f": {in_angst(crossing)} Å" if crossing > 0 else ": unresolved"
        axes.plot(frequency, curve, style, color=colour, linewidth=1.8, label=words)
    axes.axhline(THRESHOLD, color=BLACK, linestyle="--", linewidth=0.8)
    axes.axhline(0.0, color="0.6", linewidth=0.6)
    label_axes(axes, x="resolution (Å)", y="FSC in the mask")
    axes.set(xlim=(0, frequency.max()), ylim=(-0.25, 1.05))
    resolution_ticks(axes, float(frequency.max()))
    axes.legend(fontsize=SMALL_SIZE, loc="upper right", title=f"Å at {THRESHOLD}",
                title_fontsize=SMALL_SIZE)  # fmt: skip


def _area(curves: np.ndarray) -> np.ndarray:
    """(n_directions,) area below every curve up to its first shell below the threshold."""
    below = curves < THRESHOLD
    ends = np.where(below.any(axis=1), below.argmax(axis=1), curves.shape[1])
    kept = np.arange(curves.shape[1])[None] < ends[:, None]
    return (curves * kept).sum(axis=1)


def _verdict(found: DirectionalFsc, reached: np.ndarray) -> str:
    words = []
    if np.isfinite(reached).any():
        words.append(
            f"{in_angst(np.nanmax(reached))} to {in_angst(np.nanmin(reached))} Å over directions"
        )
    for name, value, limit in (
        ("cFAR", found.area_ratio, LOWEST_AREA_RATIO),
        ("SCF*", found.sampling, LOWEST_SAMPLING),
    ):
        if np.isfinite(value):
            state = "isotropic" if value >= limit else "anisotropic"
            words.append(f"{name} {value:.2f} ({state}: limit {limit:g})")
    return ";  ".join(words)
