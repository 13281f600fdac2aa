# SPDX-License-Identifier: GPL-3.0-or-later
"""Particle files of one program for another: RELION STAR to THUNDER .thu and back."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Union

from cryoralib_plugin.contract import labels
from cryoralib_plugin.io.atomic import write_atomically
from cryoralib_plugin.io.thu import write_thu

from .checks import check_optics
from .opening import find_particles
from .table import STAR_SUFFIX
from .thunder import THU_SUFFIX, thu_from_table

logger = logging.getLogger(__name__)


def convert_particles(
    source: Union[str, Path], target: Union[str, Path], *, pixel_size_angst: float = 0.0
) -> None:
    """Read a particle file and write it in the format its new name tells.

    Parameters
    ----------
    source
        RELION STAR file, THUNDER .thu file or stack, with its stacks in place.
    target
        Ends in .star or .thu; must not exist yet.
    pixel_size_angst
        Of the images, where files do not tell it.

    Raises
    ------
    ValueError, OSError
        If the source cannot be read, or the target exists or cannot hold it.
    """
    target = Path(target)
    suffix = target.suffix.lower()
    if suffix not in (STAR_SUFFIX, THU_SUFFIX):
        raise ValueError(
            f"the file to write must end in {STAR_SUFFIX} or {THU_SUFFIX}, but is {target}"
        )
    if target.exists():
        raise FileExistsError(f"{target} exists already: choose another name")
    table, _ = find_particles(source, pixel_size_angst=pixel_size_angst)
    if suffix == STAR_SUFFIX:
        write_atomically(target, table.write)
        return
    check_optics(table, f"a {THU_SUFFIX} file needs")
    if labels.RANDOM_SUBSET in table.particles:
        logger.warning(
            "%s files have no half sets: those of %s are lost, so a resolution measured after a "
            "refinement that starts from %s is too good", THU_SUFFIX, source, target,
        )  # fmt: skip
    frame = thu_from_table(table)
    write_atomically(target, lambda name: write_thu(name, frame))
