# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of a 2D run: its pictures with captions, its summary and its classes."""

from __future__ import annotations

from typing import Iterator, List, Tuple

import numpy as np

from cryoralib_plugin import figures
from cryoralib_plugin.figures import GalleryPage, IterationResults, effective_classes

from .collect import RunRecord, RunReport, collect
from .page import Content, Drawn, box_words, number_words, time_rows

_TITLES = {
    "mra": "Multi-reference 2D alignment",
    "rfa": "Reference-free 2D alignment",
}
_RESOLUTION_NOTE = (
    "resolution: where the FRC between the halves of a class, which share one alignment, "
    "falls below 0.143"
)


def alignment_content(record: RunRecord) -> Content:
    """Return what the page of a 2D run shows."""
    report = collect(record)
    return Content(
        title=_TITLES.get(record.program, "Cryo-RALib run"),
        summary=_summary(report),
        sections=list(_sections(report)),
        classes=_classes(report),
    )


def _summary(report: RunReport) -> List[List[str]]:
    results, record = report.results, report.record
    if results is None:
        return [["Iterations finished", "0"]]
    classes = results.classes
    finest = classes.resolution_angst[np.isfinite(classes.resolution_angst)]
    return [
        ["Particles with a class", f"{int(classes.n_members.sum()):,}"],
        ["Particles quarantined", f"{len(record.quarantine):,}"],
        ["Classes alive", f"{int(classes.alive.sum())} of {len(classes)}"],
        ["Effective number of classes", f"{effective_classes(classes.n_members):.1f}"],
        ["Best class resolution", f"{finest.min():.1f} Å" if finest.size else "unknown"],
        ["Box as aligned", box_words(results.box_size_px, results.pixel_size_angst)],
        ["Iterations finished", str(results.iteration)],
        *time_rows(record.history, "Time in iterations"),
    ]


def _classes(report: RunReport) -> List[List[str]]:
    """The table of classes with its heading, largest first; empty without classes."""
    classes = report.results.classes if report.results else None
    if classes is None or len(classes) == 0:
        return []
    rows = [["class", "particles", "share (%)", "resolution (Å)", "mean score", "state"]]
    for i in classes.order("size"):
        rows.append(
            [
                str(int(classes.number[i])),
                f"{int(classes.n_members[i]):,}",
                f"{100 * classes.share[i]:.2f}",
                number_words(classes.resolution_angst[i]),
                number_words(classes.mean_score[i]),
                "alive" if classes.alive[i] else "dead",
            ]
        )
    return rows


def _sections(report: RunReport) -> Iterator[Tuple[str, List[Drawn]]]:
    results = report.results
    if results is not None:
        yield "Class averages", _galleries(results)
        yield "Resolution", [_frc(results)]
        yield "Particles and classes", _populations(results)
        yield "Orientations and shifts", _orientations(report, results)
        if len(report.averages) > 1:
            yield "Averages over the iterations", [_evolution(report, results)]
    yield "Convergence", [_convergence(report)]


def _galleries(results: IterationResults) -> List[Drawn]:
    drawn: List[Drawn] = []
    if results.averages is None:
        return drawn
    for page in range(figures.n_pages(len(results.classes))):
        figure = figures.class_gallery(
            results.averages,
            results.classes,
            pixel_size_angst=results.pixel_size_angst,
            radius_px=results.outer_radius_px,
            view=GalleryPage(page=page, note=_RESOLUTION_NOTE),
        )
        name = "class_averages" + (f"_{page + 1}" if page else "")
        caption = (
            f"Class averages of iteration {results.iteration}, largest first; every image has its "
            "own grey range, taken inside the particle's disk. A dashed frame marks a dead class."
        )
        drawn.append((name, "Class averages", caption, figure))
    return drawn


def _frc(results: IterationResults) -> Drawn:
    figure = figures.frc_curves(
        results.frc, results.classes, pixel_size_angst=results.pixel_size_angst
    )
    caption = (
        "Fourier ring correlation between averages of the even and the odd particles of a class. "
        "Both halves were aligned to one reference, so noise can agree too: compare classes with "
        "it rather than quote it."
    )
    return "frc", "FRC of the classes", caption, figure


def _populations(results: IterationResults) -> List[Drawn]:
    drawn: List[Drawn] = [
        (
            "occupancy",
            "Class occupancy",
            "Particles in each class. A few bars far above the equal share are a sign that classes "
            "collapse onto others.",
            figures.class_occupancy(results.classes),
        )
    ]
    if results.poses is not None:
        drawn.append(
            (
                "scores",
                "Matching scores",
                "How well particles match their class. Junk shows as a hump or a tail of its own.",
                figures.score_histogram(results.poses),
            )
        )
    return drawn


def _orientations(report: RunReport, results: IterationResults) -> List[Drawn]:
    poses = results.poses
    if poses is None:
        return []
    return [
        (
            "inplane_angles",
            "In-plane angles",
            "Particles lie in the ice at any in-plane angle, so bars should follow the dashed "
            "circle. A preferred angle points to a gradient, an edge or a damaged reference.",
            figures.inplane_angles(poses),
        ),
        (
            "shifts",
            "Shifts",
            "Shifts that centre the particles, summed over the iterations; the dashed square is "
            "what one iteration searches. A broad or off-centre cloud means that picking missed "
            "the particles' centres.",
            figures.shift_density(
                poses,
                pixel_size_angst=results.pixel_size_angst,
                range_px=report.shift_range_px,
            ),
        ),
        (
            "mirrored",
            "Mirrored share",
            "Opposite views are mirror images of each other, so about half of each class is "
            "expected to be mirrored, unless one side of the particle sticks to a surface.",
            figures.mirror_fractions(poses, results.classes),
        ),
    ]


def _evolution(report: RunReport, results: IterationResults) -> Drawn:
    figure = figures.average_evolution(
        report.averages,
        results.classes,
        pixel_size_angst=results.pixel_size_angst,
        radius_px=results.outer_radius_px,
    )
    caption = "The largest classes as they grew, from the first iteration to the last."
    return "evolution", "Averages over the iterations", caption, figure


def _convergence(report: RunReport) -> Drawn:
    caption = (
        "Effective classes is 1 / sum p^2 over the shares p of the classes. Pixel error is how far "
        "(root mean square) a particle's disk moved since the iteration before, over particles "
        "that kept class and hand."
    )
    return "convergence", "Convergence", caption, figures.convergence(report.record.history)
