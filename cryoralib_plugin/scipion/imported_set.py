# SPDX-License-Identifier: GPL-3.0-or-later
"""Imported STAR columns as a SetOfParticles; one particle through pyworkflow, the rest by SQL."""

from __future__ import annotations

import logging
import sqlite3
from typing import Any, Dict, List, Optional, Sequence

import numpy as np
from pwem.constants import ALIGN_2D, ALIGN_NONE, ALIGN_PROJ
from pwem.objects import Acquisition, Coordinate, CTFModel, Particle, Transform
from pyworkflow.object import Float, Integer

from cryoralib_plugin.contract import labels

from .alignment import matrices_2d, matrices_projection, matrix_texts
from .import_star import Imported
from .set_reader import MATRIX
from .set_writer import BulkWriteError, check_item

logger = logging.getLogger(__name__)

AUTOMATIC = "automatic"
_KEPT = {
    name: {int: Integer, float: Float}[labels.COLUMNS[name].kind]
    for name in (
        labels.RANDOM_SUBSET,
        labels.OPTICS_GROUP,
        labels.GROUP_NUMBER,
        labels.FIGURE_OF_MERIT,
        labels.MAX_PROBABILITY,
        labels.ANGULAR_STD,
        labels.SHIFT_STD,
        labels.WEIGHT,
    )
}
"""Columns that particles keep as attributes of the same name after an underscore."""

_MAGNIFICATION = 50000.0
"""RELION 3.1 keeps none, but Scipion takes an acquisition without one for absent."""


def fill_from_star(
    particles: Any,
    imported: Imported,
    *,
    name_of: Optional[Dict[str, str]] = None,
    alignment: str = AUTOMATIC,
) -> None:
    """Fill an empty SetOfParticles.

    Parameters
    ----------
    particles
        The set to fill.
    imported
        What was read.
    name_of
        The name under which the set knows each stack; its own path by default.
    alignment
        "automatic" (projection directions where the file has any, else in-plane poses where it
        has any), or one of Scipion's ALIGN_NONE, ALIGN_2D, ALIGN_PROJ.
    """
    if alignment == AUTOMATIC:
        alignment = ALIGN_NONE
        if imported.has_pose:
            alignment = ALIGN_PROJ if imported.has_view else ALIGN_2D
    elif alignment != ALIGN_NONE and not imported.has_pose:
        raise ValueError(f"{imported.star_file} has no poses: its particles cannot be aligned")
    rows = _Rows(imported, name_of or {}, alignment)
    particles.setSamplingRate(imported.pixel_size_angst)
    particles.setHasCTF(imported.has_ctf)
    particles.setIsPhaseFlipped(imported.is_phase_flipped)
    particles.setAlignment(alignment)
    first = rows.item(0)
    particles.setAcquisition(first.getAcquisition().clone())
    try:
        particles.append(first)
        _insert_rest(particles, rows)
        check_item(particles, rows.item(len(rows) - 1))
    except (BulkWriteError, sqlite3.Error) as error:
        logger.warning("particles are written one by one, which is slow: %s", error)
        particles.clear()
        for row in range(len(rows)):
            particles.append(rows.item(row))


class _Rows:
    """The particles to be, as property columns and as items."""

    def __init__(self, imported: Imported, name_of: Dict[str, str], alignment: str):
        self._length = len(imported)
        columns: Dict[str, Sequence[Any]] = {
            "_index": imported.image_index.tolist(),
            "_filename": [name_of.get(stack, stack) for stack in imported.stack],
        }
        if imported.has_ctf:
            columns.update(_standard_ctf(imported))
        columns.update(_acquisition(imported))
        columns.update(_coordinates(imported))
        for name in _KEPT:
            if name in imported.columns:
                columns[f"_{name}"] = imported.columns[name].tolist()
        if labels.CLASS_NUMBER in imported.columns:
            columns["_classId"] = imported.columns[labels.CLASS_NUMBER].tolist()
        self.columns = columns
        self._matrices = _matrices(imported, alignment)
        if self._matrices is not None:
            posed = np.isfinite(self._matrices).all(axis=(1, 2)).tolist()
            texts = zip(posed, matrix_texts(self._matrices))
            columns[MATRIX] = [text if known else None for known, text in texts]
        self._pixel_size = imported.pixel_size_angst

    def __len__(self) -> int:
        return self._length

    def item(self, row: int) -> Particle:
        """One particle as pyworkflow makes it."""
        particle = Particle()
        particle.setObjId(row + 1)
        particle.setSamplingRate(self._pixel_size)
        particle.setAcquisition(Acquisition())
        if any(name.startswith("_ctfModel.") for name in self.columns):
            particle.setCTF(CTFModel())
            if "_ctfModel._phaseShift" in self.columns:
                particle.getCTF().setPhaseShift(0.0)
        if "_coordinate._x" in self.columns:
            particle.setCoordinate(Coordinate())
        if self._matrices is not None:
            if self.columns[MATRIX][row] is not None:
                particle.setTransform(Transform(matrix=self._matrices[row]))
            elif row == 0:
                particle.setTransform(Transform())  # the set's columns are those of its first item
        for name, values in self.columns.items():
            if name == MATRIX:
                continue
            if name[1:] in _KEPT:
                setattr(particle, name, _KEPT[name[1:]](values[row]))
            else:
                particle.setAttributeValue(name, values[row])
        return particle


def _insert_rest(particles: Any, rows: _Rows) -> None:
    """Insert all rows but the first, with the first one's values where a column has none."""
    connection = particles._getMapper().db.connection
    column_of = dict(connection.execute("SELECT label_property, column_name FROM Classes"))
    existing = [row[1] for row in connection.execute("PRAGMA table_info(Objects)")]
    first = dict(zip(existing, connection.execute("SELECT * FROM Objects").fetchone()))
    missing = [name for name in rows.columns if name not in column_of]
    if missing:
        raise BulkWriteError(f"the set has no columns for {', '.join(missing)}")
    own = ["id", *(column_of[name] for name in rows.columns)]
    others = [name for name in existing if name not in own]
    constants = [first[name] for name in others]
    marks = ", ".join("?" * (len(own) + len(others)))
    values = zip(range(1, len(rows) + 1), *rows.columns.values())
    next(values)
    connection.executemany(
        f"INSERT INTO Objects ({', '.join([*own, *others])}) VALUES ({marks})",
        ((*row, *constants) for row in values),
    )
    if MATRIX in rows.columns and rows.columns[MATRIX][0] is None:
        connection.execute(f"UPDATE Objects SET {column_of[MATRIX]} = NULL WHERE id = 1")
    connection.commit()
    particles._size.set(len(rows))


def _standard_ctf(imported: Imported) -> Dict[str, List[float]]:
    """Defoci as Scipion wants them: U is the larger one, its angle in [0, 180) degrees."""
    columns = imported.columns
    u, v = columns[labels.DEFOCUS_U], columns[labels.DEFOCUS_V]
    swapped = v > u
    angle = np.mod(columns[labels.DEFOCUS_ANGLE] + np.where(swapped, 90.0, 0.0), 180.0)
    u, v = np.where(swapped, v, u), np.where(swapped, u, v)
    ratio = np.divide(u, v, out=np.full(len(u), -1.0), where=v > CTFModel.DEFOCUS_V_MINIMUM_VALUE)
    found = {
        "_ctfModel._defocusU": u.tolist(),
        "_ctfModel._defocusV": v.tolist(),
        "_ctfModel._defocusAngle": angle.tolist(),
        "_ctfModel._defocusRatio": ratio.tolist(),
    }
    if labels.PHASE_SHIFT in columns:
        found["_ctfModel._phaseShift"] = columns[labels.PHASE_SHIFT].tolist()
    return found


def _acquisition(imported: Imported) -> Dict[str, List[float]]:
    """The acquisition of every particle."""
    names = {
        labels.VOLTAGE: "_acquisition._voltage",
        labels.SPHERICAL_ABERRATION: "_acquisition._sphericalAberration",
        labels.AMPLITUDE_CONTRAST: "_acquisition._amplitudeContrast",
    }
    found = {
        target: imported.optics[name].tolist()
        for name, target in names.items()
        if name in imported.optics
    }
    magnification = imported.columns.get(
        labels.MAGNIFICATION, np.full(len(imported), _MAGNIFICATION)
    )
    found["_acquisition._magnification"] = magnification.tolist()
    return found


def _coordinates(imported: Imported) -> Dict[str, List[Any]]:
    """Coordinates and micrographs, numbered in the order in which they appear."""
    columns = imported.columns
    found: Dict[str, List[Any]] = {}
    if labels.COORDINATE_X in columns and labels.COORDINATE_Y in columns:
        found["_coordinate._x"] = np.rint(columns[labels.COORDINATE_X]).astype(int).tolist()
        found["_coordinate._y"] = np.rint(columns[labels.COORDINATE_Y]).astype(int).tolist()
    if labels.MICROGRAPH_NAME in columns:
        names = columns[labels.MICROGRAPH_NAME].tolist()
        number_of = {name: number for number, name in enumerate(dict.fromkeys(names), start=1)}
        found["_micId"] = [number_of[name] for name in names]
        if "_coordinate._x" in found:
            found["_coordinate._micId"] = found["_micId"]
            found["_coordinate._micName"] = names
    return found


def _matrices(imported: Imported, alignment: str) -> Optional[np.ndarray]:
    """The alignment matrices (n, 4, 4), or None for particles without poses."""
    if alignment == ALIGN_NONE:
        return None
    columns = imported.columns
    zero = np.zeros(len(imported))
    origin = imported.origin_px()
    if alignment == ALIGN_2D:
        flip = columns.get(labels.IS_FLIP, zero) > 0
        return matrices_2d(columns[labels.ANGLE_PSI], origin, flip)
    angles = [
        columns.get(name, zero) for name in (labels.ANGLE_ROT, labels.ANGLE_TILT, labels.ANGLE_PSI)
    ]
    return matrices_projection(np.stack(angles, axis=1), origin)
