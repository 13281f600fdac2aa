# SPDX-License-Identifier: GPL-3.0-or-later
"""THUNDER's particle files to RELION's columns and back.

Volts become kilovolts, radians degrees, Cs in Angstrom becomes millimetres, classes are counted
from 1, and a translation, which says where the particle lies, becomes the shift that brings it
back: its negative. The defocus factor goes into both defoci, so that no reader can forget it. A
quaternion of zeros says that a particle has no pose. Half sets have no column in THUNDER's files.
"""

from __future__ import annotations

from typing import Dict

import numpy as np
import pandas as pd

from cryoralib_plugin.contract import labels
from cryoralib_plugin.geometry.rotations import normalise, to_euler
from cryoralib_plugin.io import thu

from .poses3d import ANGLES
from .table import ParticleTable

THU_SUFFIX = ".thu"
_NO_MICROGRAPH = "unknown.mrc"
_CS_ANGST_PER_MM = 1e7
_IDENTITY = (1.0, 0.0, 0.0, 0.0)


def table_from_thu(frame: pd.DataFrame, pixel_size_angst: float) -> ParticleTable:
    """Return the particle table of a .thu file (`io.thu.read_thu`).

    Parameters
    ----------
    pixel_size_angst
        Of the images, in whose pixels translations are counted.
    """
    quaternion = frame[list(thu.QUATERNION)].to_numpy()
    has_pose = quaternion.any(axis=1)
    angles = to_euler(normalise(np.where(has_pose[:, None], quaternion, _IDENTITY)))
    spread = frame[list(thu.CONCENTRATION)].to_numpy().mean(axis=1)
    shift_std = frame[["translation_std_x_px", "translation_std_y_px"]].to_numpy()
    # Files that were never refined may hold 0, which would put every particle in focus.
    factor = frame["defocus_factor"].where(frame["defocus_factor"] > 0.0, 1.0)
    columns: Dict[str, object] = {
        labels.IMAGE_NAME: frame[thu.IMAGE_NAME],
        labels.MICROGRAPH_NAME: frame[thu.MICROGRAPH_NAME],
        labels.COORDINATE_X: frame["coordinate_x_px"],
        labels.COORDINATE_Y: frame["coordinate_y_px"],
        labels.VOLTAGE: frame["voltage_v"] / 1e3,
        labels.SPHERICAL_ABERRATION: frame["cs_angst"] / _CS_ANGST_PER_MM,
        labels.AMPLITUDE_CONTRAST: frame["amplitude_contrast"],
        labels.IMAGE_PIXEL_SIZE: float(pixel_size_angst),
        labels.DEFOCUS_U: frame["defocus_u_angst"] * factor,
        labels.DEFOCUS_V: frame["defocus_v_angst"] * factor,
        labels.DEFOCUS_ANGLE: np.rad2deg(frame["defocus_angle_rad"]),
        labels.PHASE_SHIFT: np.rad2deg(frame["phase_shift_rad"]),
        labels.GROUP_NUMBER: frame[thu.GROUP_NUMBER],
        labels.CLASS_NUMBER: frame[thu.CLASS_INDEX] + 1,
        labels.ORIGIN_X_PX: 0.0 - frame["translation_x_px"],
        labels.ORIGIN_Y_PX: 0.0 - frame["translation_y_px"],
        labels.ANGULAR_STD: np.rad2deg(2.0 * np.sqrt(np.maximum(spread, 0.0))),
        labels.SHIFT_STD: np.sqrt((shift_std**2).mean(axis=1)),
        labels.DEFOCUS_STD: frame["defocus_std"],
    }
    for name, angle in zip(ANGLES, angles):
        columns[name] = np.where(has_pose, angle, np.nan)
    return ParticleTable.from_blocks({"particles": pd.DataFrame(columns)})


def thu_from_table(table: ParticleTable) -> pd.DataFrame:
    """Return the columns of a .thu file; write them with `io.thu.write_thu`.

    The defoci are written as they are, with the factor 1. The spreads become concentrations,
    ``k = (std / 2)^2`` in radians on each axis, and THUNDER's score, ``1 / (k1 k2 k3)^(1/6)``.
    """
    particles, ctf = table.particles, table.ctf()
    rotations, shift_px, known = table.at_pixel_size(table.image_pixel_size_angst).poses3d()

    def column(name: str, default: float) -> np.ndarray:
        if name not in particles:
            return np.full(len(table), default)
        return np.asarray(particles[name], np.float64)

    k = np.where(known, (np.deg2rad(column(labels.ANGULAR_STD, 0.0)) / 2.0) ** 2, 0.0)
    group = labels.GROUP_NUMBER if labels.GROUP_NUMBER in particles else labels.OPTICS_GROUP
    micrograph = particles.get(labels.MICROGRAPH_NAME, pd.Series(_NO_MICROGRAPH, particles.index))
    # Deviations are in pixels of the maps, translations in those of the images.
    down_sampled = table.pixel_size_angst / table.image_pixel_size_angst
    shift_std = column(labels.SHIFT_STD, 0.0) * down_sampled
    values = (
        ctf.voltage_kv * 1e3,
        ctf.defocus_u_angst,
        ctf.defocus_v_angst,
        np.deg2rad(ctf.defocus_angle_deg),
        ctf.cs_mm * _CS_ANGST_PER_MM,
        ctf.amplitude_contrast,
        np.deg2rad(ctf.phase_shift_deg),
        table.image_names,
        micrograph.to_numpy(object),
        column(labels.COORDINATE_X, 0.0),
        column(labels.COORDINATE_Y, 0.0),
        np.asarray(particles[group], np.int64),
        np.maximum(table.class_numbers - 1, 0),
        *np.where(known[:, None], rotations, 0.0).T,
        k, k, k,
        *(0.0 - shift_px).T,
        shift_std, shift_std,
        np.ones(len(table)),
        column(labels.DEFOCUS_STD, 0.0),
        np.divide(1.0, np.sqrt(k), out=np.zeros_like(k), where=k > 0.0),
    )  # fmt: skip
    return pd.DataFrame(dict(zip(thu.THU_COLUMNS, values)))
