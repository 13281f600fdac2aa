# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of a 3D run: its pictures with captions, its summary and its classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List

import numpy as np

from cryoralib_plugin import figures
from cryoralib_plugin.figures import DirectionalFsc

from .collect import RunRecord
from .collect3d import RoundReport, read_round
from .maps3d import draw_maps
from .page import Content, Drawn, box_words, number_words, time_rows

REFINEMENTS = {
    "refine3d": "3D refinement",
    "reconstruct": "3D reconstruction",
}
"""Programs that leave rounds of maps, and how their page is called."""

MOST_CLASSES = 10
"""Maps, spheres and directions are drawn of the largest classes only."""


def refinement_content(record: RunRecord, folder: Path) -> Content:
    """Return what the page of a 3D run shows; tables and a ChimeraX script go into the folder."""
    title = REFINEMENTS[record.program]
    if record.iteration is None:
        return Content(title, [["Rounds finished", "0"]], [("Rounds", [_progress(record)])])
    report = read_round(record.paths, record.iteration)
    if len(report.numbers) > 1:
        title = "3D classification"
    shown = report.numbers[:MOST_CLASSES]
    map_figures, directions = draw_maps(report, shown, folder)
    sections = [
        ("Map" if len(shown) == 1 else "Maps", map_figures),
        ("Resolution", _resolution(report)),
        ("Resolution along directions", _directions(report, directions)),
        ("Orientations", _orientations(report, shown)),
        ("Particles", _particles(report)),
        ("Rounds", _rounds(record, report)),
    ]
    script = folder / record.paths.chimerax_script(record.iteration).name
    return Content(
        title=title,
        summary=_summary(record, report),
        sections=sections,
        classes=_classes(report, directions),
        notes=[f"Maps as surfaces: open {script} with ChimeraX."] if script.is_file() else [],
    )


def _resolution(report: RoundReport) -> List[Drawn]:
    caption = (
        "Correlation of the unfiltered half maps: as they are, in the mask, in the mask with "
        "random phases, and corrected for what the mask adds. Crossings are interpolated between "
        "shells."
    )
    drawn: List[Drawn] = [
        ("fsc", "FSC of the half maps", caption, figures.half_map_fsc(report.results))
    ]
    if len(report.numbers) > 1:
        caption = (
            "The corrected curves of all classes. Both halves of a class share its alignment to "
            "references that were not kept apart, so curves compare classes but prove less."
        )
        figure = figures.compared_fsc(report.results)
        drawn.append(("fsc_classes", "FSC of the classes", caption, figure))
    return drawn


def _directions(report: RoundReport, found: Dict[int, DirectionalFsc]) -> List[Drawn]:
    caption = (
        "Correlation of the half maps within cones of 20 degrees. cFAR is the smallest area below "
        "a curve over the largest, SCF* how evenly the views sample Fourier space; low values mean "
        "that views are missing."
    )
    return [
        (
            f"directional_class{number:03d}",
            report.name("Directional FSC", number),
            caption,
            figures.directional_fsc(one, symmetry=report.results.symmetry),
        )
        for number, one in found.items()
    ]


def _orientations(report: RoundReport, numbers: List[int]) -> List[Drawn]:
    particles, symmetry = report.results.particles, report.results.symmetry
    if particles is None:
        return []
    caption = (
        "Directions that particles look along, in pixels of equal area, relative to an even "
        "distribution; every particle counts at all its symmetry mates."
    )
    drawn: List[Drawn] = [
        (
            "orientations",
            "Orientations",
            caption,
            figures.orientation_sphere(particles, symmetry=symmetry),
        )
    ]
    for number in numbers if len(report.numbers) > 1 else ():
        figure = figures.orientation_sphere(particles.select([number]), symmetry=symmetry)
        figure.suptitle(f"Orientations, class {number}")
        name = f"orientations_class{number:03d}"
        drawn.append((name, f"Orientations of class {number}", caption, figure))
    caption = (
        "Shifts that bring the particles' centres to the middle of the box. A broad or off-centre "
        "cloud means that picking missed the centres."
    )
    figure = figures.shift_density(particles, pixel_size_angst=report.results.pixel_size_angst)
    return [*drawn, ("shifts", "Shifts", caption, figure)]


def _particles(report: RoundReport) -> List[Drawn]:
    particles = report.results.particles
    if particles is None or not figures.has_certainty(particles):
        return []
    drawn: List[Drawn] = [
        (
            "certainty",
            "Scores, weights and uncertainties",
            "Junk scores low, because it has no part of the map in it, and its orientation is less "
            "certain. The widths are those of each particle's own posterior.",
            figures.certainty(particles, pixel_size_angst=report.results.pixel_size_angst),
        ),
        (
            "score_uncertainty",
            "Score against angular uncertainty",
            "Good particles gather at a high score and a small angle; a second cloud is junk or "
            "another molecule.",
            figures.score_against_uncertainty(particles),
        ),
    ]
    if len(report.numbers) > 1:
        caption = "How certain the class of each particle is; 1 / number of classes is a guess."
        figure = figures.class_certainty(particles)
        drawn.append(("class_certainty", "Certainty of the class", caption, figure))
    if figures.has_defocus_change(particles):
        caption = (
            "Refined minus given defocus. A shift of the whole histogram points to an error of the "
            "CTF estimate; a few hundred angstrom of spread are the heights of particles in ice."
        )
        figure = figures.defocus_change(particles)
        drawn.append(("defocus", "Change of the defocus", caption, figure))
    return drawn


def _rounds(record: RunRecord, report: RoundReport) -> List[Drawn]:
    if not report.results.stage:
        return []
    drawn = [_progress(record)]
    if len(report.numbers) > 1:
        caption = "A class that dies out or swallows the others shows here."
        figure = figures.class_shares(record.history)
        drawn.append(("class_shares", "Class occupancy", caption, figure))
    return drawn


def _progress(record: RunRecord) -> Drawn:
    caption = (
        "Resolution of the best class and the cut-off that particles were compared up to, with the "
        "medians over particles; bands are the stages of the search."
    )
    return "rounds", "Round by round", caption, figures.progress(record.history)


def _summary(record: RunRecord, report: RoundReport) -> List[List[str]]:
    results = report.results
    classes = results.classes
    finest = classes.resolution_angst[np.isfinite(classes.resolution_angst)]
    unmasked = [row.get("resolution_unmasked_angst") for row in report.model.get("classes", [])]
    bare = [float(value) for value in unmasked if value]
    rows = [
        ["Resolution (FSC)", f"{finest.min():.2f} Å" if finest.size else "unknown"],
        ["Resolution without mask", f"{min(bare):.2f} Å" if bare else "unknown"],
        ["Particles in classes", f"{int(classes.n_members.sum()):,}"],
        ["Particles quarantined", f"{len(record.quarantine):,}"],
        ["Classes", str(len(classes))],
        ["Symmetry", results.symmetry],
        ["Box of the map", box_words(results.box_size_px, results.pixel_size_angst)],
    ]
    if results.stage:
        rows.append(["Rounds finished", str(results.iteration)])
        rows.append(["Last stage", f"{results.stage} search"])
    if np.isfinite(results.cutoff_inv_angst):
        rows.append(["Particles compared up to", f"{1 / results.cutoff_inv_angst:.2f} Å"])
    return rows + time_rows(record.history, "Time in rounds")


def _classes(report: RoundReport, found: Dict[int, DirectionalFsc]) -> List[List[str]]:
    """The table of classes with its heading, largest first."""
    rows = [
        ["class", "particles", "share (%)", "resolution (Å)", "without mask (Å)", "cFAR", "SCF*"]
    ]
    records = {int(row["class"]): row for row in report.model.get("classes", [])}
    for number in report.numbers:
        row, one = records[number], found.get(number)
        share = row.get("share")
        rows.append(
            [
                str(number),
                f"{int(row.get('n_particles') or 0):,}",
                number_words(np.nan if share is None else 100 * float(share)),
                number_words(_known(row.get("resolution_angst"))),
                number_words(_known(row.get("resolution_unmasked_angst"))),
                number_words(np.nan if one is None else one.area_ratio),
                number_words(np.nan if one is None else one.sampling),
            ]
        )
    return rows if len(rows) > 1 else []


def _known(value: Any) -> float:
    return np.nan if value is None else float(value)
