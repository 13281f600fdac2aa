# SPDX-License-Identifier: GPL-3.0-or-later
"""What a viewer shows: one iteration of a run, or a Scipion set of classes or averages."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Optional, Tuple

from pwem.objects import SetOfClasses2D

from cryoralib_plugin.figures import ClassTable, FrcTable, IterationResults, PoseTable
from cryoralib_plugin.scipion import results as reading

FRC_NOTE = (
    "resolution: where the FRC between the halves of a class, which share one alignment, "
    "falls below 0.143"
)


@dataclass
class Shown:
    """Class averages with everything that can be drawn of them.

    Attributes
    ----------
    items
        SetOfClasses2D or SetOfAverages of the project whose object ids are the class numbers, so
        that a selection can become a subset; None where there is none.
    run_dir
        Where the poses come from; None for a set.
    range_px
        Half width of the shift search in x and y; None where unknown.
    """

    results: IterationResults
    items: Any = None
    run_dir: Optional[Path] = None
    range_px: Optional[Tuple[float, float]] = None
    title: str = "Class averages"
    note: str = ""

    @cached_property
    def poses(self) -> Optional[PoseTable]:
        """Poses of the members, read when first asked for; None where there are none."""
        found = None
        if self.run_dir is not None:
            found = reading.read_poses(
                self.run_dir, self.results.iteration, self.results.pixel_size_angst
            )
        elif isinstance(self.items, SetOfClasses2D):
            found = reading.read_class_poses(self.items)
        return None if found is None else PoseTable(**found)

    @cached_property
    def selectable(self) -> frozenset[int]:
        """Class numbers that a subset can be made of."""
        if self.items is None:
            return frozenset()
        return frozenset(int(identity) for identity in self.items.getIdSet())

    @property
    def outputs(self) -> Tuple[str, ...]:
        """What a subset can be: of classes also their members."""
        if self.items is None:
            return ()
        is_classes = isinstance(self.items, SetOfClasses2D)
        return ("classes", "averages", "particles") if is_classes else ("averages",)


def shown_iteration(run_dir: Path, iteration: int, items: Any = None) -> Shown:
    """One iteration of a run; `items` is the output set if it was made of this iteration."""
    return Shown(
        results=_results(reading.read_iteration(run_dir, iteration)),
        items=items,
        run_dir=run_dir,
        range_px=reading.read_shift_range(run_dir),
        title=f"Class averages, iteration {iteration}",
        note=FRC_NOTE,
    )


def shown_set(items: Any, name: str = "") -> Shown:
    """A SetOfClasses2D or SetOfAverages of any program."""
    title = f"Class averages, {name}" if name else "Class averages"
    return Shown(results=_results(reading.read_image_set(items)), items=items, title=title)


def _results(found: reading.IterationFiles) -> IterationResults:
    model, frc = found.model, found.frc
    pixel_size_angst = float(model["pixel_size_angst"])
    return IterationResults(
        iteration=int(model.get("iteration", 0)),
        program=str(model.get("program", "")),
        pixel_size_angst=pixel_size_angst,
        box_size_px=int(model["box_size_px"]),
        outer_radius_px=float(model.get("outer_radius_px") or 0),
        classes=ClassTable.from_records(model["classes"]),
        averages=found.averages,
        frc=FrcTable(
            frc["class"].astype(int), frc["frequency_per_px"] / pixel_size_angst, frc["frc"]
        )
        if frc
        else None,
    )
