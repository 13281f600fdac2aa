# SPDX-License-Identifier: GPL-3.0-or-later
"""Results of a 3D run as Scipion objects: maps, particles with their poses, curves, classes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Mapping, Sequence, Tuple

import numpy as np
from pwem.constants import ALIGN_PROJ
from pwem.objects import FSC, Particle, Transform, Volume
from pyworkflow.object import Float, Integer

from cryoralib_plugin.contract import labels
from cryoralib_plugin.contract.results import ResultPaths

from . import fill_sets
from .alignment import matrices_projection, matrix_texts
from .fill_sets import CLASS_ID
from .outputs import RESOLUTION, SHARE
from .results3d import read_table
from .set_reader import MATRIX
from .star import read_columns

_POSE = (
    labels.ANGLE_ROT,
    labels.ANGLE_TILT,
    labels.ANGLE_PSI,
    labels.ORIGIN_X_ANGST,
    labels.ORIGIN_Y_ANGST,
)
_DEFOCUS = {
    labels.DEFOCUS_U: "_ctfModel._defocusU",
    labels.DEFOCUS_V: "_ctfModel._defocusV",
}
_NEW = (
    labels.FIGURE_OF_MERIT,
    labels.MAX_PROBABILITY,
    labels.LOG_LIKELIHOOD,
    labels.ANGULAR_STD,
    labels.SHIFT_STD,
    labels.DEFOCUS_FACTOR,
    labels.DEFOCUS_STD,
    labels.WEIGHT,
)
"""Numbers that particles get as attributes of the same name after an underscore."""

CURVES = {
    "fsc_corrected": "corrected",
    "fsc_masked": "masked",
    "fsc_unmasked": "unmasked",
    "fsc_randomised": "phase-randomised, masked",
}
"""Columns of the FSC file and the label of their curve."""


@dataclass(frozen=True)
class ClassOfRun3D:
    """What a 3D run says of one class; a resolution of 0 is not known."""

    number: int
    share: float
    n_particles: int
    resolution_angst: float


@dataclass(frozen=True)
class Run3D:
    """The last round of a 3D run, as outputs are made from it."""

    paths: ResultPaths
    iteration: int
    box_size_px: int
    pixel_size_angst: float
    classes: Tuple[ClassOfRun3D, ...]

    def of_class(self, number: int) -> ClassOfRun3D:
        """The class with this number, counted from 1."""
        for found in self.classes:
            if found.number == number:
                return found
        raise KeyError(f"the run's model file does not list class {number}")


@dataclass(frozen=True)
class Poses3D:
    """Class, pose and all that a run says of particles, sorted by Scipion's object id.

    `ids`, `class_number` (n,) int64; `matrices` (n, 4, 4) float64, shifts in px of the particles
    in Scipion; `values` are properties of the particles with n values each.
    """

    ids: np.ndarray
    class_number: np.ndarray
    matrices: np.ndarray
    values: Mapping[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.ids)

    def columns(self) -> Dict[str, Sequence[Any]]:
        """The values as they are stored."""
        return {
            MATRIX: matrix_texts(self.matrices),
            CLASS_ID: self.class_number.tolist(),
            **{name: values.tolist() for name, values in self.values.items()},
        }

    def update(self, item: Particle, row: int) -> None:
        """Give a particle its class, pose, defocus and how sure the run is of them."""
        item.setClassId(int(self.class_number[row]))
        item.setTransform(Transform(matrix=self.matrices[row]))
        for name, values in self.values.items():
            value = values[row].item()
            if "." in name:
                item.setAttributeValue(name, value)
            else:
                setattr(item, name, (Integer if isinstance(value, int) else Float)(value))


def read_run3d(run_dir: Path) -> Run3D:
    """The last whole round of a run; ValueError where there is none."""
    paths = ResultPaths(run_dir)
    iteration = paths.last_iteration()
    if iteration is None:
        raise ValueError(f"the run in {run_dir} has no whole round; see {paths.log}")
    model = json.loads(paths.model_json(iteration).read_text(encoding="utf-8"))
    classes = tuple(
        ClassOfRun3D(
            int(found["class"]),
            float(found.get("share") or 0.0),
            int(found.get("n_particles") or 0),
            float(found.get("resolution_angst") or 0.0),
        )
        for found in model["classes"]
    )
    return Run3D(
        paths, iteration, int(model["box_size_px"]), float(model["pixel_size_angst"]), classes
    )


def read_poses3d(star_file: Path, particles: Any) -> Poses3D:
    """The poses in a result STAR file, for the particles that it was made from.

    Particles that were set aside (class 0, or no angle) are not among them.
    """
    wanted = (labels.IMAGE_ID, labels.CLASS_NUMBER, labels.RANDOM_SUBSET, *_POSE, *_DEFOCUS, *_NEW)
    columns = read_columns(star_file, "particles", wanted)
    missing = [name for name in (labels.IMAGE_ID, *_POSE) if name not in columns]
    if missing:
        raise ValueError(f"{star_file} lacks the columns {', '.join(missing)}")
    order = np.argsort(columns[labels.IMAGE_ID], kind="stable")
    columns.setdefault(labels.CLASS_NUMBER, np.ones(len(order), np.int64))
    usable = columns[labels.CLASS_NUMBER] > 0
    for name in _POSE:
        usable &= np.isfinite(columns[name])
    order = order[usable[order]]
    found = {name: values[order] for name, values in columns.items()}
    angles, origin = (
        np.stack([found[name] for name in part], 1) for part in (_POSE[:3], _POSE[3:])
    )
    values = {f"_{name}": found[name] for name in (labels.RANDOM_SUBSET, *_NEW) if name in found}
    if particles.hasCTF():
        values.update({target: found[name] for name, target in _DEFOCUS.items() if name in found})
    return Poses3D(
        found[labels.IMAGE_ID],
        found[labels.CLASS_NUMBER],
        matrices_projection(angles, origin / particles.getSamplingRate()),
        values,
    )


def fill_particles(output: Any, particles: Any, poses: Poses3D) -> None:
    """Fill an empty SetOfParticles with the input's particles and their projection directions."""
    fill_sets.fill_particles(output, particles, poses, ALIGN_PROJ)


def fill_classes(classes: Any, poses: Poses3D, run: Run3D) -> None:
    """Fill an empty SetOfClasses3D of the input particles with the classes of the run."""

    def describe(item: Any) -> None:
        found = run.of_class(item.getObjId())
        item.setAlignmentProj()
        item.setRepresentative(volume_of(run, found.number))
        setattr(item, SHARE, Float(found.share))
        setattr(item, RESOLUTION, Float(found.resolution_angst))

    fill_sets.fill_classes(classes, poses, describe)


def volume_of(run: Run3D, number: int) -> Volume:
    """The map of a class with its unfiltered half maps, which post-processing begins from."""
    volume = Volume()
    volume.setObjId(number)
    volume.setLocation(str(run.paths.merged_mrc(run.iteration, number)))
    volume.setSamplingRate(run.pixel_size_angst)
    volume.setClassId(number)
    volume.setHalfMaps(
        [str(run.paths.unfiltered_half_mrc(run.iteration, half, number)) for half in (1, 2)]
    )
    setattr(volume, RESOLUTION, Float(run.of_class(number).resolution_angst))
    return volume


def fill_volumes(volumes: Any, run: Run3D) -> None:
    """Fill an empty SetOfVolumes with the map of each class."""
    volumes.setSamplingRate(run.pixel_size_angst)
    for found in run.classes:
        volumes.append(volume_of(run, found.number))


def fill_fscs(fscs: Any, run: Run3D) -> None:
    """Fill an empty SetOfFSCs with the curves of each class that the run measured."""
    table = read_table(run.paths.fsc_csv(run.iteration))
    for found in run.classes:
        own = table["class"] == found.number
        of = f"class {found.number}, " if len(run.classes) > 1 else ""
        for name, label in CURVES.items():
            if name in table:
                _append_curve(fscs, run, table["shell"][own], table[name][own], f"{of}{label}")


def _append_curve(fscs: Any, run: Run3D, shell: np.ndarray, values: np.ndarray, label: str) -> None:
    """Append one curve over frequency, 1/angst, unless it was not measured."""
    known = np.isfinite(values) & (shell > 0)
    if not known.any():
        return
    frequency: List[float] = (shell[known] / (run.box_size_px * run.pixel_size_angst)).tolist()
    fsc = FSC()
    fsc.setObjLabel(label)
    fsc.setData(frequency, values[known].tolist())
    fscs.append(fsc)
