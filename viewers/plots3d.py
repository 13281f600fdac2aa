# SPDX-License-Identifier: GPL-3.0-or-later
"""The plots of a round that the viewer of 3D runs offers, by name."""

from __future__ import annotations

from typing import Callable, Dict, List, NamedTuple, Tuple

from matplotlib.figure import Figure

from cryoralib_plugin import figures
from cryoralib_plugin.scipion.results3d import read_map

from .shown3d import ShownRound

Titled = Tuple[str, Figure]


class Plot3D(NamedTuple):
    """The label of a plot in the form, its help, and what draws it: one or several figures."""

    label: str
    help: str
    draw: Callable[[ShownRound], List[Titled]]


def _one(label: str, draw: Callable[[ShownRound], Figure]) -> Callable[[ShownRound], List[Titled]]:
    return lambda shown: [(label, draw(shown))]


def _maps(shown: ShownRound) -> List[Titled]:
    drawn = []
    for number in shown.numbers:
        files = shown.map_files(number)
        if "merged" not in files:
            continue
        mask = read_map(files["mask"]) if "mask" in files else None
        title = f"Map of class {number}, round {shown.results.iteration}"
        figure = figures.map_views(
            read_map(files["merged"]),
            pixel_size_angst=shown.results.pixel_size_angst,
            mask=mask,
            title=title,
        )
        drawn.append((f"Map of class {number}", figure))
    return drawn or [("Map", figures.figure_in_words("There is no map of this round."))]


def _compared(shown: ShownRound) -> List[Titled]:
    drawn = [("FSC of the half maps", figures.half_map_fsc(shown.chosen))]
    if len(shown.chosen.classes) > 1:
        drawn.append(("FSC of the classes", figures.compared_fsc(shown.chosen)))
    return drawn


def directional_figures(shown: ShownRound) -> List[Titled]:
    """Return a figure a class of what the report program computed of directions."""
    symmetry = shown.results.symmetry
    return [
        (
            f"Directional FSC of class {number}",
            figures.directional_fsc(shown.directional(number), symmetry=symmetry),
        )
        for number in shown.numbers
    ]


def _shifts(shown: ShownRound) -> Figure:
    if shown.particles is None:
        return figures.figure_in_words("No particle has a shift here.", title="Shifts")
    pixel_size_angst = shown.results.pixel_size_angst
    return figures.shift_density(shown.particles, pixel_size_angst=pixel_size_angst)


def _class_certainty(shown: ShownRound) -> Figure:
    if len(shown.results.classes) == 1:
        return figures.figure_in_words(
            "This run has one class, which holds every particle.", title="Certainty of the class"
        )
    return figures.class_certainty(shown.particles)


PLOTS3D: Dict[str, Plot3D] = {
    "maps": Plot3D(
        "Slices and projections",
        "Central slices and projections of the maps along z, y and x, with their masks.",
        _maps,
    ),
    "fsc": Plot3D(
        "FSC of the half maps",
        "Fourier shell correlation without mask, in the mask, with random phases and corrected, "
        "with its crossings of 0.5 and 0.143.",
        _compared,
    ),
    "orientations": Plot3D(
        "Orientations",
        "Viewing directions on the sphere, in pixels of equal area, with symmetry mates.",
        _one(
            "Orientations",
            lambda shown: figures.orientation_sphere(
                shown.particles, symmetry=shown.results.symmetry
            ),
        ),
    ),
    "certainty": Plot3D(
        "Scores and uncertainties",
        "Histograms of score, weight, angular and shift uncertainty; junk scores low.",
        _one(
            "Scores and uncertainties",
            lambda shown: figures.certainty(
                shown.particles, pixel_size_angst=shown.results.pixel_size_angst
            ),
        ),
    ),
    "junk": Plot3D(
        "Score against uncertainty",
        "Density of particles over angular uncertainty and score: a second cloud is junk.",
        _one(
            "Score against uncertainty",
            lambda shown: figures.score_against_uncertainty(shown.particles),
        ),
    ),
    "shifts": Plot3D("Shifts", "Density of the shifts.", _one("Shifts", _shifts)),
    "classCertainty": Plot3D(
        "Certainty of the class",
        "Histogram of the probability of each particle's most likely class.",
        _one("Certainty of the class", _class_certainty),
    ),
    "defocus": Plot3D(
        "Change of the defocus",
        "Refined minus given defocus, in percent and in Å.",
        _one("Change of the defocus", lambda shown: figures.defocus_change(shown.particles)),
    ),
}
