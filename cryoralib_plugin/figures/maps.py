# SPDX-License-Identifier: GPL-3.0-or-later
"""A map in two dimensions: central slices and projections along its three axes."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from .contrast import add_scale_bar
from .style import ORANGE, SMALL_SIZE, TEXT_SIZE, new_figure

_AXES = ("z", "y", "x")
_ACROSS = {"z": ("x", "y"), "y": ("x", "z"), "x": ("y", "z")}
_MARGIN = 1.25
"""Pictures reach so much farther than the mask, where there is one."""

_INSIDE, _OUTSIDE = 0.5, 99.7


def map_views(
    volume: np.ndarray,
    *,
    pixel_size_angst: float,
    mask: np.ndarray | None = None,
    title: str = "Map",
) -> Figure:
    """Draw central slices and projections of a map along z, y and x, with the outline of its mask.

    Both rows have one grey range each, so that the three views can be compared. Row 0 is at the
    top, as in images of particles: a projection along z looks like the particle at rot = tilt =
    psi = 0.

    Parameters
    ----------
    volume : (N, N, N) float, z, y, x
    mask : (N, N, N) float, between 0 and 1; None where there is none
    """
    if volume.ndim != 3 or len(set(volume.shape)) != 1:
        raise ValueError(f"A map must be a cube (N, N, N); the shape is {volume.shape}.")
    if mask is not None and mask.shape != volume.shape:
        raise ValueError(
            f"The mask must have the shape of the map, {volume.shape}; it is {mask.shape}."
        )
    box = volume.shape[0]
    part = _shown_part(mask, box)
    figure = new_figure(9.6, 6.9, title=title)
    panels: Any = figure.subplots(2, 3)
    slices = [volume.take(box // 2, axis=axis)[part, part] for axis in range(3)]
    projections = [volume.sum(axis=axis, dtype=np.float64)[part, part] for axis in range(3)]
    outlines: list[list[np.ndarray] | None] = [None, None]
    if mask is not None:
        outlines = [
            [mask.take(box // 2, axis=axis)[part, part] for axis in range(3)],
            [mask.max(axis=axis)[part, part] for axis in range(3)],
        ]
    titles = ("central slice {0}{1}", "projection along {2}")
    for row, images, contours, words in zip(panels, (slices, projections), outlines, titles):
        low, high = _greys(images)
        for place, (axes, image) in enumerate(zip(row, images)):
            along = _AXES[place]
            across, down = _ACROSS[along]
            axes.imshow(image, cmap="gray", vmin=low, vmax=high, origin="upper",
                        interpolation="bicubic")  # fmt: skip
            if contours is not None and _crosses(contours[place]):
                axes.contour(contours[place], levels=[0.5], colors=ORANGE, linewidths=0.9,
                             alpha=0.9)  # fmt: skip
            axes.set_title(words.format(across, down, along), fontsize=TEXT_SIZE)
            axes.set_xlabel(f"{across} →", fontsize=SMALL_SIZE, labelpad=2)
            axes.set_ylabel(f"← {down}", fontsize=SMALL_SIZE, labelpad=2)
            axes.set_xticks([])
            axes.set_yticks([])
        add_scale_bar(row[0], images[0].shape[0], pixel_size_angst)
    caption = f"{box} px of {pixel_size_angst:.4g} Å; white is density"
    if part != slice(0, box):
        caption += f"; the middle {part.stop - part.start} px are shown"
    if mask is not None:
        caption += "; orange: the mask at 0.5"
    figure.supxlabel(caption, fontsize=SMALL_SIZE + 1)
    return figure


def _shown_part(mask: np.ndarray | None, box: int) -> slice:
    """The middle of the box that holds the mask with a margin; the whole box without one."""
    if mask is None:
        return slice(0, box)
    inside = np.argwhere(mask >= 0.5)
    if len(inside) == 0:
        return slice(0, box)
    reach = int(np.ceil(_MARGIN * np.abs(inside - box // 2).max()))
    return slice(max(0, box // 2 - reach), min(box, box // 2 + reach + 1))


def _greys(images: list[np.ndarray]) -> tuple[float, float]:
    """Robust black and white of three pictures together."""
    values = np.concatenate([image[np.isfinite(image)].ravel() for image in images])
    if values.size == 0:
        return 0.0, 1.0
    low, high = np.percentile(values, (_INSIDE, _OUTSIDE))
    return (float(low), float(high)) if high > low else (float(low) - 1.0, float(low) + 1.0)


def _crosses(contour: np.ndarray) -> bool:
    return bool((contour >= 0.5).any() and (contour < 0.5).any())
