# SPDX-License-Identifier: GPL-3.0-or-later
"""Maps of a round in the report: pictures, directional correlations, a script for ChimeraX."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Dict, List, Tuple

import pandas as pd

from cryoralib_plugin import figures
from cryoralib_plugin.figures import MASK_LEVEL, DirectionalFsc
from cryoralib_plugin.io.atomic import write_atomically, write_text_atomically

from .anisotropy import anisotropy_frame, directional, directional_frame
from .collect3d import ClassMaps, RoundReport
from .page import Drawn


def draw_maps(
    report: RoundReport, numbers: List[int], folder: Path
) -> Tuple[List[Drawn], Dict[int, DirectionalFsc]]:
    """Return pictures of the maps of some classes, and their directional correlations.

    Maps are read one class at a time. The correlations as tables and a script that opens the maps
    in ChimeraX are written into the folder.
    """
    drawn: List[Drawn] = []
    directions: Dict[int, DirectionalFsc] = {}
    surfaces = []
    it, pixel = report.results.iteration, report.results.pixel_size_angst
    for number in numbers:
        maps = report.maps(number)
        surfaces += _surfaces(report, number, maps, folder)
        if maps.merged is not None:
            name = report.name("Map", number)
            figure = figures.map_views(
                maps.merged, pixel_size_angst=pixel, mask=maps.mask, title=f"{name}, round {it}"
            )
            caption = (
                "Central slices and projections of the map of both halves, filtered; row 0 is at "
                "the top, as in particle images."
            )
            drawn.append((f"map_class{number:03d}", name, caption, figure))
        found = directional(maps, report.results, number)
        if found is not None:
            directions[number] = found
    paths = report.paths
    if directions:
        for path, frame in (
            (paths.directional_fsc_csv(it), directional_frame(directions)),
            (paths.anisotropy_csv(it), anisotropy_frame(directions)),
        ):
            _write_csv(folder / path.name, frame)
    if surfaces:
        text = figures.chimerax_script(surfaces, f"round {it} of {Path(paths.run_dir).name}")
        write_text_atomically(folder / paths.chimerax_script(it).name, text)
    return drawn, directions


def _surfaces(
    report: RoundReport, number: int, maps: ClassMaps, folder: Path
) -> List[figures.Surface]:
    """The maps of a class as ChimeraX opens them, with paths seen from the script's folder."""
    files = report.paths.maps_of_class(report.results.iteration, number)
    levels = {
        part: MASK_LEVEL if part == "mask" else figures.contour_level(volume, maps.mask)
        for part, volume in vars(maps).items()
        if volume is not None
    }
    paths = {part: os.path.relpath(path, folder) for part, path in files.items()}
    return figures.surfaces_of_class(number, paths, levels)


def _write_csv(path: Path, frame: pd.DataFrame) -> None:
    write_atomically(path, lambda name: frame.to_csv(name, index=False))
