# SPDX-License-Identifier: GPL-3.0-or-later
"""Draws all figures of a run, saves them as PNG and binds them into report.html."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Iterator, List, Optional, Tuple, Union

from matplotlib.figure import Figure

from cryoralib_plugin import figures
from cryoralib_plugin.contract.results import ResultPaths
from cryoralib_plugin.figures import GalleryPage, IterationResults
from cryoralib_plugin.io.atomic import write_atomically, write_text_atomically

from .collect import RunReport, collect
from .page import Picture, report_page

PAGE_NAME = "report.html"
_RESOLUTION_NOTE = (
    "resolution: where the FRC between the halves of a class, which share one alignment, "
    "falls below 0.143"
)

Drawn = Tuple[str, str, str, Figure]


def write_report(run_dir: Union[str, Path], output_dir: Optional[Union[str, Path]] = None) -> Path:
    """Write PNG pictures and one self-contained page on a run; return the path of the page.

    Parameters
    ----------
    run_dir
        The output_dir of an MRA or RFA run, finished or not.
    output_dir
        Where to write; None means the folder `report` inside the run.

    Raises
    ------
    FileNotFoundError
        If `run_dir` is not a run directory.
    """
    report = collect(Path(run_dir))
    folder = Path(output_dir) if output_dir else ResultPaths(run_dir).report_dir
    folder.mkdir(parents=True, exist_ok=True)
    sections = []
    for heading, drawn in _sections(report):
        if not drawn:
            continue
        sections.append((heading, [_save(folder, *picture) for picture in drawn]))
    page = folder / PAGE_NAME
    write_text_atomically(page, report_page(report, sections))
    return page


def _save(folder: Path, name: str, title: str, caption: str, figure: Figure) -> Picture:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    png = buffer.getvalue()
    write_atomically(folder / f"{name}.png", lambda path: _write_bytes(path, png))
    return Picture(f"{name}.png", title, caption, png)


def _write_bytes(path: Path, content: bytes) -> None:
    path.write_bytes(content)


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
    return "convergence", "Convergence", caption, figures.convergence(report.history)
