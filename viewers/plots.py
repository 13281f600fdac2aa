# SPDX-License-Identifier: GPL-3.0-or-later
"""The plots that both viewers offer, by name; each makes one figure of what is shown."""

from __future__ import annotations

from typing import Callable, Collection, Dict, NamedTuple

from matplotlib.figure import Figure

from cryoralib_plugin import figures
from cryoralib_plugin.figures import PoseTable

from .shown import Shown

_NO_POSES = "No in-plane alignment is stored with these averages."


class Plot(NamedTuple):
    """The label of a plot in menus and forms, its help, and what draws it of some classes."""

    label: str
    help: str
    draw: Callable[[Shown, Collection[int]], Figure]


def draw_plot(name: str, shown: Shown, numbers: Collection[int] = ()) -> Figure:
    """Return the figure of a plot for the named classes, or for all of them."""
    return PLOTS[name].draw(shown, numbers)


def _of_poses(title: str, draw: Callable[[Shown, PoseTable], Figure]) -> Callable:
    """A plot of the poses of some classes, in words where there are none."""

    def plot(shown: Shown, numbers: Collection[int]) -> Figure:
        if shown.poses is None:
            return figures.figure_in_words(_NO_POSES, title=title)
        return draw(shown, shown.poses.select(numbers) if numbers else shown.poses)

    return plot


def _draw_frc(shown: Shown, numbers: Collection[int]) -> Figure:
    results = shown.results
    return figures.frc_curves(
        results.frc, results.classes, pixel_size_angst=results.pixel_size_angst
    )


def _draw_shifts(shown: Shown, poses: PoseTable) -> Figure:
    return figures.shift_density(
        poses, pixel_size_angst=shown.results.pixel_size_angst, range_px=shown.range_px
    )


PLOTS: Dict[str, Plot] = {
    "occupancy": Plot(
        "Class occupancy",
        "How many particles each class holds, with the equal share as a line.",
        lambda shown, numbers: figures.class_occupancy(shown.results.classes),
    ),
    "frc": Plot(
        "FRC curves",
        "Fourier ring correlation of the two halves of every class, with its crossings of 0.5 and "
        "0.143. Both halves share one alignment, so the curves are optimistic.",
        _draw_frc,
    ),
    "angles": Plot(
        "In-plane angles",
        "Polar histogram of the in-plane angle; the dashed circle is what uniform angles give.",
        _of_poses("In-plane angle", lambda shown, poses: figures.inplane_angles(poses)),
    ),
    "shifts": Plot(
        "Shifts",
        "Density of the shifts; the dashed rectangle is the search range of one iteration.",
        _of_poses("Shifts", _draw_shifts),
    ),
    "mirrored": Plot(
        "Mirrored share",
        "Share of mirrored particles of each class with its 95 % interval; about half is expected.",
        _of_poses(
            "Mirrored particles in each class",
            lambda shown, poses: figures.mirror_fractions(poses, shown.results.classes),
        ),
    ),
    "scores": Plot(
        "Matching scores",
        "Histogram of the matching scores; junk shows as a hump or a tail of its own.",
        _of_poses("Matching score", lambda shown, poses: figures.score_histogram(poses)),
    ),
}
