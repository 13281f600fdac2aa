# SPDX-License-Identifier: GPL-3.0-or-later
"""What viewers show of 3D runs and of Scipion's 3D objects of any program, without pandas."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, Mapping, Optional, Sequence, Union

import numpy as np
from pwem.emlib.image import ImageHandler

from cryoralib_plugin.contract import labels
from cryoralib_plugin.contract.results import ResultPaths

from .alignment import matrices_from_texts, poses_projection
from .fill_sets import CLASS_ID
from .set_reader import MATRIX, DatabaseReader
from .star import read_columns

PathLike = Union[str, Path]

STAGE = "stage"

_COLUMN_OF = {
    "number": labels.CLASS_NUMBER,
    "half": labels.RANDOM_SUBSET,
    "score": labels.FIGURE_OF_MERIT,
    "probability": labels.MAX_PROBABILITY,
    "angular_std_deg": labels.ANGULAR_STD,
    "shift_std_px": labels.SHIFT_STD,
    "defocus_factor": labels.DEFOCUS_FACTOR,
    "defocus_std": labels.DEFOCUS_STD,
    "weight": labels.WEIGHT,
}
"""What is said of a particle beside its pose, and the column that says it."""


@dataclass(frozen=True)
class RoundFiles:
    """One round of a 3D run.

    Attributes
    ----------
    model
        As in the model file: box, pixel size, stage, cut-off and the list of classes.
    fsc
        Columns of the FSC file by name, all classes below each other; empty where there is none.
    """

    model: Dict[str, Any]
    fsc: Mapping[str, np.ndarray] = field(default_factory=dict)


def read_round(run_dir: PathLike, iteration: int) -> RoundFiles:
    """Model and FSC of one round; maps are read by `read_map`, poses by `read_views`."""
    paths = ResultPaths(run_dir)
    model = json.loads(paths.model_json(iteration).read_text(encoding="utf-8"))
    return RoundFiles(model, read_table(paths.fsc_csv(iteration)))


def read_rounds(run_dir: PathLike) -> Dict[str, np.ndarray]:
    """Columns of metrics.csv by name, one row a round; empty before the first one."""
    return read_table(ResultPaths(run_dir).metrics_csv)


def read_views(
    run_dir: PathLike, iteration: int, pixel_size_angst: float
) -> Optional[Dict[str, np.ndarray]]:
    """Poses of all particles of a round and how sure they are; None where there is no file.

    Returns
    -------
    dict
        rot_deg, tilt_deg, psi_deg (n,); shift_px (n, 2) as x, y in px of the maps; and, NaN where
        the run does not say, number (class), half, score, probability, angular_std_deg,
        shift_std_px, defocus_factor, defocus_std, weight and defocus_angst, the mean of both axes.
    """
    path = ResultPaths(run_dir).data_star(iteration)
    if not path.is_file():
        return None
    pose = (labels.ANGLE_ROT, labels.ANGLE_TILT, labels.ANGLE_PSI)
    origin = (labels.ORIGIN_X_ANGST, labels.ORIGIN_Y_ANGST)
    defocus = (labels.DEFOCUS_U, labels.DEFOCUS_V)
    found = read_columns(path, "particles", (*pose, *origin, *defocus, *_COLUMN_OF.values()))
    if any(name not in found for name in pose):
        return None
    n = len(found[labels.ANGLE_ROT])
    unknown = np.full(n, np.nan)
    shift_angst = np.stack([found.get(name, np.zeros(n)) for name in origin], axis=1)
    defocus_angst = np.mean([found.get(name, unknown) for name in defocus], axis=0)
    return {
        "rot_deg": found[labels.ANGLE_ROT],
        "tilt_deg": found[labels.ANGLE_TILT],
        "psi_deg": found[labels.ANGLE_PSI],
        "shift_px": shift_angst / pixel_size_angst,
        "defocus_angst": defocus_angst,
        **{name: found.get(column, unknown) for name, column in _COLUMN_OF.items()},
    }


def read_directional(run_dir: PathLike, iteration: int, number: int) -> Dict[str, Any]:
    """What the report program computed of directions for one class of a round.

    Returns
    -------
    dict
        directions (m, 3) x y z; shell (n_shells,); curves (m, n_shells); area_ratio and sampling.
        Empty where the program has not run on this round.
    """
    paths = ResultPaths(run_dir)
    table = read_table(paths.directional_fsc_csv(iteration))
    merit = read_table(paths.anisotropy_csv(iteration))
    if not table or not merit or number not in table["class"]:
        return {}
    own = table["class"] == number
    shells = np.unique(table["shell"][own])
    rot, tilt, curves = (
        table[name][own].reshape(-1, len(shells)) for name in ("rot_deg", "tilt_deg", "fsc")
    )
    rot, tilt = np.deg2rad(rot[:, 0]), np.deg2rad(tilt[:, 0])
    directions = (np.sin(tilt) * np.cos(rot), np.sin(tilt) * np.sin(rot), np.cos(tilt))
    row = np.flatnonzero(merit["class"] == number)[0]
    return {
        "directions": np.stack(directions, axis=-1),
        "shell": shells,
        "curves": curves,
        "area_ratio": float(merit["area_ratio"][row]),
        "sampling": float(merit["sampling_compensation"][row]),
    }


def write_script(path: Path, text: str) -> None:
    """Write a script of ChimeraX, and the folder it lies in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def read_particle_views(particles: Any) -> Optional[Dict[str, np.ndarray]]:
    """As `read_views`, of a SetOfParticles or Class3D with projection directions of any program.

    What the set does not say is NaN; None where no particle has a pose. Shifts are in px of the
    particles.
    """
    columns = {name: f"_{column}" for name, column in _COLUMN_OF.items()}
    columns["number"] = CLASS_ID
    prefix = (particles.getPrefix() or "").strip()
    rows = DatabaseReader(particles.getFileName(), prefix).rows((MATRIX, *columns.values()))
    posed = [row for row in rows if row[0]]
    if not posed:
        return None
    texts, *others = zip(*posed)
    angles_deg, shift_px = poses_projection(matrices_from_texts(texts))
    return {
        "rot_deg": angles_deg[:, 0],
        "tilt_deg": angles_deg[:, 1],
        "psi_deg": angles_deg[:, 2],
        "shift_px": shift_px,
        **{name: _numbers(values) for name, values in zip(columns, others)},
    }


def read_map(location: Any) -> np.ndarray:
    """A map (N, N, N) float32, z, y, x, of a Scipion Volume or of a file."""
    wanted = str(location) if isinstance(location, Path) else location
    data = np.asarray(ImageHandler().read(wanted).getData(), np.float32)
    volume = np.squeeze(data)
    if volume.ndim != 3:
        raise ValueError(f"{location} must hold a map, but its data have the shape {data.shape}")
    return volume


def read_fsc_set(fscs: Any) -> Dict[str, Dict[str, np.ndarray]]:
    """Label of each FSC of a SetOfFSCs to its frequency_inv_angst and fsc (n,)."""
    found = {}
    for item in fscs.iterItems():
        frequency, values = (np.array([float(v) for v in column]) for column in item.getData())
        name = item.getObjLabel() or f"FSC {item.getObjId()}"
        found[name] = {"frequency_inv_angst": frequency, "fsc": values}
    return found


def read_table(path: Path) -> Dict[str, np.ndarray]:
    """Columns of a CSV file by name, float64; an empty cell is NaN, a column of words stays text.

    A file that is missing has no columns.
    """
    if not path.is_file():
        return {}
    with open(path, encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    if not rows:
        return {}
    return {name: _column([row[name] for row in rows]) for name in rows[0]}


def _column(cells: Sequence[str]) -> np.ndarray:
    try:
        return np.array([float(cell or "nan") for cell in cells])
    except ValueError:
        return np.array(cells, object)


def _numbers(values: Sequence[Optional[float]]) -> np.ndarray:
    return np.array([np.nan if value is None else value for value in values], float)
