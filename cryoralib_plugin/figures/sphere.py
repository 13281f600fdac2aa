# SPDX-License-Identifier: GPL-3.0-or-later
"""The sphere of directions on paper: Mollweide's projection, which keeps areas.

rot, the azimuth from +x, runs to the right from -180 to 180 degrees; tilt, the angle from +z, runs
down from 0 to 180 (Snyder, Map Projections, USGS Professional Paper 1395, 249 (1987)).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Ellipse
from matplotlib.patheffects import withStroke

from cryoralib_plugin.geometry.rotations import to_matrices, to_rotation_vectors
from cryoralib_plugin.geometry.symmetry import symmetry_operators

from .style import SMALL_SIZE, VERMILION

_HALF_WIDTH, _HALF_HEIGHT = 2.0 * 2.0**0.5, 2.0**0.5
_AXIS_MARKERS = {2: (2, 0, 0), 3: (3, 0, 0), 4: (4, 0, 45), 5: (5, 0, 0)}
_LINE = "0.55"


def raster_directions(n_columns: int = 720) -> tuple[np.ndarray, np.ndarray]:
    """Return the direction of every pixel of the map and which pixels lie on the sphere.

    Returns
    -------
    directions : (n_rows, n_columns, 3) float, x y z, unit; row 0 is at the top; twice as wide as
        high
    inside : (n_rows, n_columns) bool
    """
    n_rows = n_columns // 2
    x = _HALF_WIDTH * (2.0 * (np.arange(n_columns) + 0.5) / n_columns - 1.0)
    y = _HALF_HEIGHT * (1.0 - 2.0 * (np.arange(n_rows) + 0.5) / n_rows)
    angle = np.arcsin(y / _HALF_HEIGHT)[:, None]
    latitude = np.arcsin((2.0 * angle + np.sin(2.0 * angle)) / np.pi)
    longitude = np.pi * x[None] / (_HALF_WIDTH * np.cos(angle))
    cosine = np.cos(latitude) * np.ones_like(longitude)
    height = np.sin(latitude) * np.ones_like(longitude)
    found = np.stack([cosine * np.cos(longitude), cosine * np.sin(longitude), height], axis=-1)
    return found, np.abs(longitude) <= np.pi


def on_paper(directions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return x and y on the map, each (...), of directions (..., 3), unit."""
    longitude = np.arctan2(directions[..., 1], directions[..., 0])
    # The auxiliary angle has no closed form; a table of its inverse is exact to a thousandth.
    angles = np.linspace(-0.5 * np.pi, 0.5 * np.pi, 4001)
    heights = (2.0 * angles + np.sin(2.0 * angles)) / np.pi
    angle = np.interp(np.clip(directions[..., 2], -1.0, 1.0), heights, angles)
    return _HALF_WIDTH / np.pi * longitude * np.cos(angle), _HALF_HEIGHT * np.sin(angle)


def draw_sphere(axes: Axes, raster: np.ndarray, **colours: Any) -> Any:
    """Draw values on the sphere with a grid of rot and tilt; return the image for a colour bar.

    Parameters
    ----------
    raster : (n_rows, n_columns) float, at `raster_directions`; NaN is left grey
    colours : cmap, norm, vmin, vmax of matplotlib's imshow
    """
    inside = raster_directions(raster.shape[1])[1]
    edges = (-_HALF_WIDTH, _HALF_WIDTH, -_HALF_HEIGHT, _HALF_HEIGHT)
    outline = Ellipse((0, 0), 2 * _HALF_WIDTH, 2 * _HALF_HEIGHT, facecolor="0.88", edgecolor="0.2",
                      linewidth=1.2, zorder=-1)  # fmt: skip
    axes.add_patch(outline)
    shown = np.where(inside, raster, np.nan)
    image = axes.imshow(shown, extent=edges, origin="upper", interpolation="nearest", **colours)
    image.set_clip_path(outline)
    _draw_grid(axes)
    axes.set(
        xlim=(-1.03 * _HALF_WIDTH, 1.03 * _HALF_WIDTH),
        ylim=(-1.03 * _HALF_HEIGHT, 1.03 * _HALF_HEIGHT), aspect="equal",
    )  # fmt: skip
    axes.set_axis_off()
    return image


def _draw_grid(axes: Axes) -> None:
    """Lines of equal rot and tilt every 30 or 60 degrees, with their angles."""
    halo = [withStroke(linewidth=2.0, foreground="white")]
    meridian = np.linspace(-0.5 * np.pi, 0.5 * np.pi, 91)
    for rot in range(-120, 180, 60):
        x = _HALF_WIDTH / 180.0 * rot * np.cos(meridian)
        axes.plot(x, _HALF_HEIGHT * np.sin(meridian), color=_LINE, linewidth=0.5)
    for rot in range(-120, 180, 60):
        axes.annotate(
            f"{rot}°", (_HALF_WIDTH / 180.0 * rot, 0.0), xytext=(0, -5),
            textcoords="offset points", fontsize=SMALL_SIZE, ha="center", va="top", color="0.15",
            path_effects=halo,
        )  # fmt: skip
    for tilt in range(30, 180, 30):
        edge = np.array([-np.sin(np.deg2rad(tilt)), 0.0, np.cos(np.deg2rad(tilt))])
        x, y = on_paper(edge)
        x = -abs(float(x))
        axes.plot([x, -x], [y, y], color=_LINE, linewidth=0.5)
        axes.annotate(
            f"{tilt}°", (x, float(y)), xytext=(-4, 0), textcoords="offset points", ha="right",
            va="center", fontsize=SMALL_SIZE, color="0.15",
        )  # fmt: skip


def asymmetric_unit(symmetry: str, directions: np.ndarray) -> np.ndarray:
    """Return whether directions lie in one asymmetric unit of the sphere, (...) bool.

    The unit holds what is nearer to one seed than to any of its mates; the seed lies as far from
    its own mates as any, so that the unit is compact.

    Parameters
    ----------
    directions : (..., 3) float, x y z, unit
    """
    matrices = to_matrices(symmetry_operators(symmetry))
    mates = matrices @ _seed(symmetry, matrices)
    return np.asarray((directions @ mates.T).argmax(axis=-1) == 0)


def _seed(symmetry: str, matrices: np.ndarray) -> np.ndarray:
    """A direction in general position whose asymmetric unit a reader recognises."""
    family = symmetry.strip().upper()[0]
    if family == "C":
        return np.array([1.0, 0.0, 0.0])
    if family == "D":
        # A wedge of the upper half: rot within half a turn over the fold, tilt up to 90 degrees.
        return np.array([0.5**0.5, 0.0, 0.5**0.5])
    place = np.arange(2000)
    height = 1.0 - (place + 0.5) / 1000.0
    azimuth = place * np.pi * (3.0 - 5.0**0.5)
    radius = np.sqrt(1.0 - height**2)
    tried = np.stack([radius * np.cos(azimuth), radius * np.sin(azimuth), height], axis=-1)
    nearest = np.einsum("ni,oij,nj->on", tried, matrices[1:], tried).max(axis=0)
    # Of its mates, which are as good, the one nearest to the middle of the upper half of the map.
    mates = matrices @ tried[nearest.argmin()]
    return np.asarray(mates[(mates @ np.array([0.8, 0.0, 0.6])).argmax()])


def symmetry_axes(symmetry: str) -> list[tuple[np.ndarray, int]]:
    """Return each axis of a point group, (3,) x y z, with its fold; both ends of an axis."""
    steps = to_rotation_vectors(symmetry_operators(symmetry)[1:])
    angles = np.linalg.norm(steps, axis=-1)
    axes: list[tuple[np.ndarray, int]] = []
    for step, angle in zip(steps[np.argsort(angles)], np.sort(angles)):
        for end in (step / angle, -step / angle):
            # The smallest turn about an axis comes first, and tells its fold.
            if all(end @ known < 1.0 - 1e-6 for known, _ in axes):
                axes.append((end, int(round(360.0 / angle))))
    return axes


def mark_symmetry(axes: Axes, symmetry: str, n_columns: int = 720) -> None:
    """Outline one asymmetric unit and mark the axes by digons, triangles, squares, pentagons."""
    operators = symmetry_operators(symmetry)
    if len(operators) == 1:
        return
    directions, inside = raster_directions(n_columns)
    unit = np.where(inside, asymmetric_unit(symmetry, directions), np.nan)
    n_rows = n_columns // 2
    x = _HALF_WIDTH * (2.0 * (np.arange(n_columns) + 0.5) / n_columns - 1.0)
    y = _HALF_HEIGHT * (1.0 - 2.0 * (np.arange(n_rows) + 0.5) / n_rows)
    axes.contour(x, y, unit, levels=[0.5], colors=VERMILION, linewidths=1.8)
    for axis, fold in symmetry_axes(symmetry):
        place = on_paper(axis)
        if fold == 2:
            axes.plot(*place, marker="d", markersize=6, color="white", markeredgecolor="black",
                      markeredgewidth=0.8)  # fmt: skip
        else:
            axes.plot(*place, marker=_AXIS_MARKERS.get(fold, "o"), markersize=8, color="white",
                      markeredgecolor="black", markeredgewidth=0.8)  # fmt: skip
