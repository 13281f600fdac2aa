# SPDX-License-Identifier: GPL-3.0-or-later
"""From which directions a molecule was seen: views counted in equal areas of the sphere."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from cryoralib_plugin.geometry.directions import count_views, n_pixels, pixels_of_directions
from cryoralib_plugin.geometry.rotations import from_euler
from cryoralib_plugin.geometry.symmetry import symmetry_operators

from .sphere import draw_sphere, mark_symmetry, raster_directions
from .style import DENSITY_MAP, SMALL_SIZE, TEXT_SIZE, figure_in_words, new_figure
from .tables3d import RefinedParticles

_PER_PIXEL = 5
"""Views that a pixel holds on average, so that chance alone changes it by a half at most."""

_LARGEST_N_SIDE = 16
_MOST_VIEWS = 2_000_000
"""Of more particles with their mates every n-th is drawn: a window should open at once."""

_UNEVEN = 8.0
"""A peak so many times the even share is drawn on a logarithmic scale."""


def sphere_bins(n_views: int) -> int:
    """Return n_side of a HEALPix sphere (12 n_side^2 pixels) for a number of views."""
    n_side = round(float(np.sqrt(n_views / (12 * _PER_PIXEL))))
    return int(np.clip(n_side, 2, _LARGEST_N_SIDE))


def evenness(counts: np.ndarray) -> float:
    """Return exp(entropy) of a distribution over its number of bins: 1 if all hold the same.

    Parameters
    ----------
    counts : (n_bins,) float, at least 0
    """
    share = counts[counts > 0] / counts.sum()
    return float(np.exp(-(share * np.log(share)).sum()) / len(counts))


def orientation_sphere(particles: RefinedParticles | None, *, symmetry: str = "C1") -> Figure:
    """Draw how many particles look along each direction, relative to an even distribution.

    Every particle is counted at all its symmetry mates; one asymmetric unit is outlined. Opposite
    directions are different views of a molecule, but show the same projection, mirrored.
    """
    title = "Orientations"
    if particles is None or not np.isfinite(particles.tilt_deg).any():
        return figure_in_words("No particle has an orientation here.", title=title)
    known = np.flatnonzero(np.isfinite(particles.tilt_deg) & np.isfinite(particles.rot_deg))
    operators = symmetry_operators(symmetry)
    stride = -(-len(known) * len(operators) // _MOST_VIEWS)
    drawn = known[::stride]
    rotations = from_euler(particles.rot_deg[drawn], particles.tilt_deg[drawn],
                           np.zeros(len(drawn)))  # fmt: skip
    n_side = sphere_bins(len(rotations) * len(operators))
    counts = count_views(rotations, n_side, operators)
    even = len(rotations) / n_pixels(n_side)
    density = counts / even

    figure = new_figure(9.0, 5.2, title=title)
    axes = figure.add_subplot()
    directions, _ = raster_directions()
    values = density[pixels_of_directions(directions, n_side)]
    peak = float(density.max())
    image = draw_sphere(
        axes, np.where(values > 0, values, np.nan), cmap=DENSITY_MAP, norm=_scale(density)
    )
    mark_symmetry(axes, symmetry)
    _add_colour_bar(figure, axes, image)
    empty = 100 * float((counts == 0).mean())
    words = [
        f"{len(known):,} particles"
        + (f", every {stride}th drawn" if stride > 1 else "")
        + (f" at their {len(operators)} mates of {symmetry}" if len(operators) > 1 else "")
        + f"; {n_pixels(n_side):,} pixels of {41253 / n_pixels(n_side):.0f} square degrees, "
        f"{even * len(operators):.0f} views each if even",
        f"peak {peak:.1f} × even; chance alone gives 1 ± {1 / np.sqrt(even * len(operators)):.2f}; "
        f"evenness {evenness(counts):.2f} (1 is even)"
        + (f"; grey: {empty:.3g} % of pixels empty" if empty > 0 else ""),
    ]
    if len(operators) > 1:
        words.append("outlined: one asymmetric unit; white symbols: symmetry axes by their fold")
    figure.supxlabel("\n".join(words), fontsize=SMALL_SIZE + 1)
    axes.set_title("viewing directions in the map; rot: left to right, tilt: top to bottom",
                   fontsize=TEXT_SIZE - 1, color="0.3")  # fmt: skip
    return figure


def _scale(density: np.ndarray) -> Normalize:
    """Linear from 0, or logarithmic where a few views outnumber the others."""
    peak = float(density.max())
    if peak <= _UNEVEN:
        return Normalize(0.0, max(peak, 1.5))
    return LogNorm(max(float(density[density > 0].min()), 1e-2), peak)


def _add_colour_bar(figure: Figure, axes: Axes, image: AxesImage) -> None:
    bar = figure.colorbar(image, ax=axes, shrink=0.7, pad=0.02, aspect=25)
    bar.set_label("particles relative to even", fontsize=TEXT_SIZE)
    bar.ax.tick_params(labelsize=SMALL_SIZE + 1)
    if isinstance(image.norm, LogNorm):
        bar.ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} ×"))
        bar.ax.yaxis.set_minor_formatter(NullFormatter())
    else:
        bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} ×"))
