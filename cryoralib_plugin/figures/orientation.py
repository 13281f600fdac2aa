# SPDX-License-Identifier: GPL-3.0-or-later
"""How the particles were turned, moved and mirrored: in-plane angles, shifts, hands."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import LogFormatter, MaxNLocator

from .style import (
    BLUE,
    DENSITY_MAP,
    GREY,
    SKY,
    SMALL_SIZE,
    TEXT_SIZE,
    VERMILION,
    figure_in_words,
    label_axes,
    name_classes,
    new_figure,
)
from .tables import ClassTable, PoseTable
from .tables3d import RefinedParticles

_NO_PARTICLES = "No particle has a pose here."


def angle_bins(n_particles: int) -> int:
    """Return how many bins of a full turn keep 40 particles or more each: 12, 24, 36 or 72."""
    return next((bins for bins in (72, 36, 24) if n_particles >= 40 * bins), 12)


def inplane_angles(poses: PoseTable) -> Figure:
    """Draw the in-plane angles as a polar histogram with the circle that uniform angles would give.

    A line shows the mirrored ones among them. A preferred in-plane angle is a
    sign of an aligned background (ice gradient, carbon edge) or of references that all look alike.
    """
    title = "In-plane angle"
    if len(poses) == 0:
        return figure_in_words(_NO_PARTICLES, title=title)
    bins = angle_bins(len(poses))
    edges = np.linspace(0.0, 360.0, bins + 1)
    angle = np.mod(poses.psi_deg, 360.0)
    counts = np.histogram(angle, edges)[0]
    mirrored = np.histogram(angle[poses.mirror], edges)[0]
    uniform = len(poses) / bins

    figure = new_figure(6.2, 6.6, title=title)
    axes: Any = figure.add_subplot(projection="polar")
    # psi turns +x towards +row, which is clockwise on a screen that shows row 0 at the top.
    axes.set_theta_direction(-1)
    centre, width = np.deg2rad(edges[:-1] + 180.0 / bins), 2 * np.pi / bins
    axes.bar(centre, counts, width, color=SKY, edgecolor="white", linewidth=0.3, label="all")
    # Points every few degrees, because a polar plot joins two points by a chord.
    fine = np.linspace(0.0, 360.0, 721)
    step = mirrored[(fine * bins / 360.0).astype(int) % bins]
    axes.plot(np.deg2rad(fine), step, color=BLUE, linewidth=1.4, label="mirrored ones")
    around = np.linspace(0, 2 * np.pi, 181)
    axes.plot(
        around, np.full(around.shape, uniform), color=VERMILION, linestyle="--", linewidth=1.8,
        label=f"uniform ({uniform:,.0f} a bin)", gid="uniform",
    )  # fmt: skip
    axes.set_ylim(0, 1.1 * max(counts.max(), uniform))
    axes.set_rlabel_position(22.5)
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True, min_n_ticks=2))
    axes.tick_params(labelsize=SMALL_SIZE + 1)
    for label in axes.get_yticklabels():
        label.set_bbox({"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.8})
    axes.set_xlabel(
        f"psi (degree, clockwise); radius: particles in a bin of {360 // bins}°\n"
        f"{len(poses):,} particles, {100 * poses.mirror.mean():.1f} % mirrored; "
        f"{_uniformity_words(angle)}",
        fontsize=SMALL_SIZE + 1, labelpad=12,
    )  # fmt: skip
    figure.legend(loc="outside lower center", ncols=3, fontsize=SMALL_SIZE + 1, frameon=False)
    return figure


def _uniformity_words(angle_deg: np.ndarray) -> str:
    """Mean resultant length and its limit for uniform angles: Rayleigh test at the level 0.001."""
    length = float(np.abs(np.exp(1j * np.deg2rad(angle_deg)).mean()))
    limit = float(np.sqrt(-np.log(0.001) / len(angle_deg)))
    verdict = "no preferred angle" if length <= limit else "a preferred angle"
    return f"resultant {length:.3f} (uniform: below {limit:.3f}), {verdict}"


def shift_density(
    poses: PoseTable | RefinedParticles,
    *,
    pixel_size_angst: float,
    range_px: tuple[float, float] | None = None,
) -> Figure:
    """Draw shifts as hexagonal bins, with the search range of one iteration as a rectangle.

    Parameters
    ----------
    range_px : half width in x and in y of the search, pixel; None where unknown
    """
    title = "Shifts"
    # Particles without a pose have no shift.
    shift = poses.shift_px[np.isfinite(poses.shift_px).all(axis=1)]
    if len(shift) == 0:
        return figure_in_words(_NO_PARTICLES, title=title)
    reach = float(np.abs(shift).max())
    half = 1.08 * max(reach, *(range_px or (0.0,)), 1.0)
    figure = new_figure(6.6, 6.2, title=title)
    axes = figure.add_subplot()
    gridsize = int(np.clip(np.sqrt(len(shift) / 3), 13, 41))
    density = axes.hexbin(
        shift[:, 0], shift[:, 1], gridsize=gridsize, extent=(-half, half, -half, half), mincnt=1,
        bins="log", cmap=DENSITY_MAP, linewidths=0.1,
    )  # fmt: skip
    axes.axhline(0, color="0.6", linewidth=0.6)
    axes.axvline(0, color="0.6", linewidth=0.6)
    caption = f"{len(shift):,} particles; median length {np.median(np.hypot(*shift.T)):.2f} px"
    if range_px is not None and min(range_px) > 0:
        x, y = range_px
        axes.add_patch(
            Rectangle((-x, -y), 2 * x, 2 * y, fill=False, edgecolor=VERMILION, linewidth=1.8,
                      linestyle="--", gid="search-range")
        )  # fmt: skip
        outside = (np.abs(shift[:, 0]) > x) | (np.abs(shift[:, 1]) > y)
        caption += (
            f"\ndashed: search range of one iteration, ±{x:g} and ±{y:g} px; "
            f"{100 * outside.mean():.1f} % outside it"
        )
    label_axes(axes, x=f"shift x, columns (px)\n{caption}", y="shift y, rows (px)")
    axes.xaxis.label.set_fontsize(SMALL_SIZE + 1)
    axes.set(xlim=(-half, half), ylim=(half, -half), aspect="equal")
    in_angst: Any = (lambda px: px * pixel_size_angst, lambda angst: angst / pixel_size_angst)
    axes.secondary_xaxis("top", functions=in_angst).set_xlabel("shift x (Å)", fontsize=TEXT_SIZE)
    bar = figure.colorbar(density, ax=axes, shrink=0.75, pad=0.02)
    bar.ax.yaxis.set_major_formatter(LogFormatter())
    bar.ax.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(1.2, 0.4)))
    bar.set_label("particles in a bin (log scale)", fontsize=TEXT_SIZE)
    return figure


def mirror_fractions(poses: PoseTable, classes: ClassTable) -> Figure:
    """Draw the share of mirrored particles of every class, with its 95 % interval (Wilson).

    Half is expected where a view and its mirror image are equally frequent; near 0 or 1 means that
    the class holds one hand only.
    """
    title = "Mirrored particles in each class"
    shown = classes.number[classes.n_members > 0]
    if len(poses) == 0 or len(shown) == 0:
        return figure_in_words(_NO_PARTICLES, title=title)
    counts = np.array([(poses.number == number).sum() for number in shown])
    flipped = np.array([poses.mirror[poses.number == number].sum() for number in shown])
    known = counts > 0
    shown, counts, flipped = shown[known], counts[known], flipped[known]
    share, low, high = _wilson_interval(flipped, counts)
    figure = new_figure(min(13.0, max(5.5, 2 + 0.28 * len(shown))), 3.8, title=title)
    axes = figure.add_subplot()
    axes.axhline(0.5, color=GREY, linestyle="--", linewidth=1.2)
    # Rounding may leave a length just below zero, which matplotlib refuses.
    error = np.maximum(np.stack([share - low, high - share]), 0.0)
    place = np.arange(len(shown))
    axes.errorbar(place, share, error, fmt="o", color=BLUE, markersize=5, capsize=2)
    label_axes(axes, x="class", y="share mirrored (with 95 % interval)")
    axes.set_ylim(-0.03, 1.03)
    name_classes(axes, shown)
    return figure


def _wilson_interval(
    hits: np.ndarray, counts: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Share and its 95 % interval after Wilson (1927), which stays inside 0 to 1."""
    z = 1.959964
    share = hits / counts
    middle = (share + z**2 / (2 * counts)) / (1 + z**2 / counts)
    half = z * np.sqrt(share * (1 - share) / counts + z**2 / (4 * counts**2)) / (1 + z**2 / counts)
    return share, middle - half, middle + half
