# SPDX-License-Identifier: GPL-3.0-or-later
"""What the viewer of 3D runs shows: one round, its particles and maps read when first asked for."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Collection, Dict, List, Optional

import numpy as np

from cryoralib_plugin import figures
from cryoralib_plugin.contract.results import ResultPaths
from cryoralib_plugin.figures import (
    MASK_LEVEL,
    ClassTable,
    DirectionalFsc,
    RefinedParticles,
    RoundResults,
)
from cryoralib_plugin.scipion import results3d as reading

MOST_CLASSES = 10
"""Windows that open at once for a round of many classes, the largest of them."""


@dataclass
class ShownRound:
    """One round of a 3D run.

    Attributes
    ----------
    results
        Without particles, which may be a million: see `particles`.
    wanted
        Class numbers that the user asks for; empty for all.
    """

    run_dir: Path
    results: RoundResults
    wanted: frozenset[int] = frozenset()

    @cached_property
    def particles(self) -> Optional[RefinedParticles]:
        """Particles of the classes asked for; None where there is no file."""
        results = self.results
        found = reading.read_views(self.run_dir, results.iteration, results.pixel_size_angst)
        if found is None:
            return None
        particles = RefinedParticles.from_columns(found).in_classes(len(results.classes))
        return particles.select(self.wanted) if self.wanted else particles

    @cached_property
    def chosen(self) -> RoundResults:
        """The results of the classes asked for."""
        classes = self.results.classes
        if not self.wanted:
            return self.results
        rows = np.isin(classes.number, sorted(self.wanted))
        kept = ClassTable(*(getattr(classes, name)[rows] for name in classes.__dataclass_fields__))
        return replace(self.results, classes=kept)

    @property
    def numbers(self) -> List[int]:
        """The classes asked for, largest first, ten at most."""
        classes = self.chosen.classes
        return [int(classes.number[row]) for row in classes.order("size")][:MOST_CLASSES]

    def map_files(self, number: int) -> Dict[str, Path]:
        """The maps of a class that are there, by "merged", "mask", "half1", "half2"."""
        files = ResultPaths(self.run_dir).maps_of_class(self.results.iteration, number)
        return {part: path for part, path in files.items() if path.is_file()}

    def directional(self, number: int) -> Optional[DirectionalFsc]:
        """Directional correlation of a class; None where the report has not computed it."""
        found = reading.read_directional(self.run_dir, self.results.iteration, number)
        if not found:
            return None
        shells = found.pop("shell")
        length_angst = self.results.box_size_px * self.results.pixel_size_angst
        return DirectionalFsc(frequency_inv_angst=shells / length_angst, **found)

    def write_chimerax_script(self) -> Path:
        """Write a script that opens the maps of the classes in ChimeraX; its path."""
        script = ResultPaths(self.run_dir).chimerax_script(self.results.iteration)
        surfaces = []
        for number in self.numbers:
            files = self.map_files(number)
            maps = {part: reading.read_map(path) for part, path in files.items()}
            levels = {
                part: MASK_LEVEL
                if part == "mask"
                else figures.contour_level(volume, maps.get("mask"))
                for part, volume in maps.items()
            }
            paths = {part: os.path.relpath(path, script.parent) for part, path in files.items()}
            surfaces += figures.surfaces_of_class(number, paths, levels)
        if not surfaces:
            raise ValueError(f"There is no map of round {self.results.iteration}.")
        title = f"round {self.results.iteration}"
        reading.write_script(script, figures.chimerax_script(surfaces, title))
        return script


def shown_round(run_dir: Path, iteration: int, wanted: Collection[int] = ()) -> ShownRound:
    """One round of a run, and the classes of it that are asked for.

    Raises
    ------
    ValueError
        If a class is asked for that the run does not have.
    """
    found = reading.read_round(run_dir, iteration)
    results = RoundResults.from_model(found.model, found.fsc)
    known = results.classes.number
    unknown = sorted(set(wanted) - set(known.tolist()))
    if unknown:
        raise ValueError(
            f"Classes must be among those of the run, 1 to {len(known)}; asked for: "
            f"{', '.join(map(str, unknown))}."
        )
    return ShownRound(run_dir, results, frozenset(wanted))
