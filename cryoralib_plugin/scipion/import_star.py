# SPDX-License-Identifier: GPL-3.0-or-later
"""A RELION STAR file (3.0, 3.1 or older) as plain columns, checked against its stacks."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from cryoralib_plugin.contract import labels

from .images import stack_dimensions
from .star import Columns, read_tables

OPTICS = "optics"
_PARENTS_SEARCHED = 4

_ACQUISITION = (labels.VOLTAGE, labels.SPHERICAL_ABERRATION, labels.AMPLITUDE_CONTRAST)
_UM_TO_ANGST = 1e4


@dataclass(frozen=True)
class Imported:
    """The particles of a STAR file.

    `columns` are RELION's, n values each; `optics` likewise with one value per particle, taken
    from the optics table or, before RELION 3.1, from the particles themselves. `image_index` (n,)
    counts from 1; `stack` (n,) are the paths of the stacks as found on disk.
    """

    star_file: Path
    columns: Columns
    optics: Columns
    image_index: np.ndarray
    stack: np.ndarray
    pixel_size_angst: float
    box_size_px: int

    def __len__(self) -> int:
        return len(self.image_index)

    @property
    def stacks(self) -> List[str]:
        """The different stacks, in the order of their first particle."""
        return list(dict.fromkeys(self.stack.tolist()))

    @property
    def has_ctf(self) -> bool:
        return all(
            name in self.columns
            for name in (labels.DEFOCUS_U, labels.DEFOCUS_V, labels.DEFOCUS_ANGLE)
        )

    @property
    def has_pose(self) -> bool:
        return labels.ANGLE_PSI in self.columns

    @property
    def has_view(self) -> bool:
        """Whether the poses are projection directions, not in-plane poses only."""
        return self.has_pose and any(
            name in self.columns and bool(np.any(self.columns[name] != 0))
            for name in (labels.ANGLE_ROT, labels.ANGLE_TILT)
        )

    @property
    def is_phase_flipped(self) -> bool:
        flags = self.optics.get(labels.DATA_ARE_PHASE_FLIPPED)
        return flags is not None and bool(np.all(flags != 0))

    def ctf_problem(self) -> str:
        """What is wrong with flags of the CTF for a set that has one for all; empty if nothing."""
        multiplied = self.optics.get(labels.DATA_ARE_PREMULTIPLIED)
        if multiplied is not None and bool(np.any(multiplied != 0)):
            return (
                f"The images are multiplied by their CTF ({labels.DATA_ARE_PREMULTIPLIED}), which "
                "Scipion cannot say of a set: extract them without."
            )
        flipped = self.optics.get(labels.DATA_ARE_PHASE_FLIPPED)
        if flipped is not None and len(np.unique(flipped != 0)) > 1:
            return (
                f"Only some optics groups are phase flipped ({labels.DATA_ARE_PHASE_FLIPPED}), "
                "which Scipion cannot say of a set: import the groups one by one."
            )
        return ""

    def origin_px(self) -> np.ndarray:
        """The origins (n, 2) as x, y in px; zero where the file has none."""
        for x, y, unit in (
            (labels.ORIGIN_X_ANGST, labels.ORIGIN_Y_ANGST, self.pixel_size_angst),
            (labels.ORIGIN_X_PX, labels.ORIGIN_Y_PX, 1.0),
        ):
            if x in self.columns and y in self.columns:
                return np.stack([self.columns[x], self.columns[y]], axis=1) / unit
        return np.zeros((len(self), 2))

    @classmethod
    def read(
        cls, star_file: Path, *, pixel_size_angst: float = 0.0, image_folder: str = ""
    ) -> Imported:
        """Read and check a STAR file.

        Parameters
        ----------
        pixel_size_angst
            Used where the file does not tell; 0: the file must tell.
        image_folder
            Where the stacks are searched first; then the STAR file's folder and those above it.

        Raises
        ------
        ValueError, FileNotFoundError
            With the row, the stack or the column that is wrong.
        """
        star_file = Path(star_file)
        tables = read_tables(star_file)
        columns = _particle_table(star_file, tables)
        n_particles = len(columns[labels.IMAGE_NAME])
        if n_particles == 0:
            raise ValueError(f"{star_file} lists no particles")
        optics = _optics_of_particles(star_file, columns, tables.get(OPTICS))
        index, names = _split_names(star_file, columns[labels.IMAGE_NAME])
        folders = _folders(star_file, image_folder)
        path_of = {name: _find_stack(star_file, name, folders) for name in dict.fromkeys(names)}
        box = _check_stacks(star_file, index, names, path_of)
        return cls(
            star_file,
            columns,
            optics,
            index,
            np.array([path_of[name] for name in names], object),
            _pixel_size(star_file, columns, optics, pixel_size_angst),
            box,
        )


def _particle_table(star_file: Path, tables: Mapping[str, Columns]) -> Columns:
    """The table with the particles, whatever its name."""
    for table in tables.values():
        if labels.IMAGE_NAME in table:
            return dict(table)
    raise ValueError(
        f"{star_file} has no column {labels.IMAGE_NAME}: it is not a STAR file of particles"
    )


def _optics_of_particles(
    star_file: Path, columns: Columns, optics: Optional[Columns]
) -> Dict[str, np.ndarray]:
    """The optics of each particle; columns of the particle table stand where there is no group."""
    own = (*_ACQUISITION, labels.IMAGE_PIXEL_SIZE, labels.PIXEL_SIZE)
    if optics is None:
        return {name: columns[name] for name in own if name in columns}
    if labels.OPTICS_GROUP not in optics:
        raise ValueError(f"the optics table of {star_file} has no column {labels.OPTICS_GROUP}")
    groups = optics[labels.OPTICS_GROUP].tolist()
    wanted = columns.get(
        labels.OPTICS_GROUP, np.full(len(columns[labels.IMAGE_NAME]), groups[0])
    ).tolist()
    row_of = {group: row for row, group in enumerate(groups)}
    for number, group in enumerate(wanted, start=1):
        if group not in row_of:
            raise ValueError(
                f"particle {number} of {star_file} is of optics group {group}, which the optics "
                f"table does not list; it lists {', '.join(map(str, groups))}"
            )
    rows = np.array([row_of[group] for group in wanted])
    return {name: values[rows] for name, values in optics.items()}


def _split_names(star_file: Path, names: np.ndarray) -> Tuple[np.ndarray, List[str]]:
    """Indices from 1 and stack names of image names such as 000001@particles.mrcs."""
    indices, stacks = [], []
    for row, name in enumerate(names.tolist(), start=1):
        number, at, stack = name.rpartition("@")
        if at and not number.isdigit():
            raise ValueError(
                f"particle {row} of {star_file} has the image name {name!r}; expected a number, "
                "@ and a stack, such as 000001@particles.mrcs"
            )
        indices.append(int(number) if at else 1)
        stacks.append(stack)
    return np.array(indices), stacks


def _folders(star_file: Path, image_folder: str) -> List[Path]:
    """Where stacks are searched: RELION names them from its project, above the job's folder."""
    here = star_file.resolve().parent
    above = [here, *here.parents][: 1 + _PARENTS_SEARCHED]
    return [*([Path(image_folder)] if image_folder else []), *above]


def _find_stack(star_file: Path, name: str, folders: Sequence[Path]) -> str:
    """The path of a stack on disk; relative to the present folder where it lies below it."""
    candidates = [folder / name for folder in folders]
    candidates += [folder / Path(name).name for folder in folders]
    for candidate in candidates:
        if candidate.is_file():
            path = os.path.abspath(candidate)
            here = os.getcwd()
            inside = os.path.commonpath([path, here]) == here
            return os.path.relpath(path, here) if inside else path
    raise FileNotFoundError(
        f"the stack {name} of {star_file} was not found in {', '.join(map(str, folders))}: name "
        "its folder, or the folder that the name starts from"
    )


def _check_stacks(
    star_file: Path, index: np.ndarray, names: Sequence[str], path_of: Mapping[str, str]
) -> int:
    """The box size of all stacks; ValueError where one is too short or of another size."""
    largest: Dict[str, Tuple[int, int]] = {}
    for row, (number, name) in enumerate(zip(index.tolist(), names), start=1):
        if number > largest.get(name, (0, 0))[0]:
            largest[name] = (number, row)
    box = 0
    for name, (number, row) in largest.items():
        width, height, count = stack_dimensions(path_of[name])
        if width != height:
            raise ValueError(f"the images of {name} must be square, not {width} x {height} px")
        if box and width != box:
            raise ValueError(
                f"the images of {name} have a box of {width} px, but those of other stacks of "
                f"{star_file} {box} px: all must have the same box"
            )
        box = width
        if number > count:
            raise ValueError(
                f"particle {row} of {star_file} is image {number} of {name}, which has {count}"
            )
    return box


def _pixel_size(star_file: Path, columns: Columns, optics: Columns, given: float) -> float:
    """The one pixel size of all particles."""
    sizes: Optional[np.ndarray] = optics.get(labels.IMAGE_PIXEL_SIZE, optics.get(labels.PIXEL_SIZE))
    if sizes is None and all(
        name in columns for name in (labels.DETECTOR_PIXEL_SIZE, labels.MAGNIFICATION)
    ):
        sizes = columns[labels.DETECTOR_PIXEL_SIZE] * _UM_TO_ANGST / columns[labels.MAGNIFICATION]
    if sizes is None:
        if given <= 0:
            raise ValueError(f"{star_file} does not tell the pixel size: name it")
        return given
    different = np.unique(np.round(sizes, 4))
    if len(different) > 1:
        raise ValueError(
            f"the particles of {star_file} have pixel sizes of "
            f"{', '.join(f'{size:g}' for size in different)} A, but a Scipion set has one: import "
            "the optics groups one by one, or bring them to one pixel size first"
        )
    return float(different[0])
