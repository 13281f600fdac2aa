# SPDX-License-Identifier: GPL-3.0-or-later
"""A selection of classes or averages becomes a run of Scipion's own subset protocol."""

from __future__ import annotations

import os
import time
from typing import Any, Iterable

from pwem.objects import SetOfAverages, SetOfClasses2D, SetOfParticles
from pwem.protocols import ProtUserSubSet

OUTPUTS = {
    "classes": SetOfClasses2D.__name__,
    "averages": SetOfAverages.__name__,
    "particles": SetOfParticles.__name__,
}


def new_subset(project: Any, items: Any, ids: Iterable[int], output: str, label: str) -> Any:
    """Return a run, not yet launched, that makes a subset of a set in the project.

    Parameters
    ----------
    items
        SetOfClasses2D or SetOfAverages that belongs to the project.
    ids
        Object ids of the chosen classes or averages.
    output
        "classes", "averages" or "particles"; only "averages" for a SetOfAverages.

    Raises
    ------
    ValueError
        If nothing is selected or the set cannot give such an output.
    """
    chosen = sorted(ids)
    if not chosen:
        raise ValueError("Nothing is selected: click on the averages that should be kept.")
    if output not in OUTPUTS:
        raise ValueError(f"A subset must be one of {', '.join(OUTPUTS)}; it is {output!r}.")
    if output != "averages" and not isinstance(items, SetOfClasses2D):
        raise ValueError(
            f"A {items.getClassName()} has no members, so only averages can be taken from it."
        )
    run = project.newProtocol(ProtUserSubSet)
    run.setObjLabel(label)
    _point_to(run.inputObject, project, items)
    # The protocol asks for the name of a file with ids, a comma, and the prefix of a table.
    run.sqliteFile.set(f"{_write_selection(project, chosen)},")
    run.outputClassName.set(OUTPUTS[output])
    return run


def _point_to(pointer: Any, project: Any, items: Any) -> None:
    """Point to the output of a protocol by its name, so that the project draws the arrow."""
    parent = project.getProtocol(items.getObjParentId()) if items.getObjParentId() else None
    for name, found in parent.iterOutputAttributes() if parent is not None else ():
        if found.getObjId() == items.getObjId():
            pointer.set(parent)
            pointer.setExtended(name)
            return
    pointer.set(items)


def _write_selection(project: Any, ids: Iterable[int]) -> str:
    """Write the ids into the project's log folder; the name relative to the project."""
    name = os.path.join("Logs", f"selection_{time.time_ns()}.txt")
    path = project.getPath(name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(" ".join(map(str, ids)))
    return name
