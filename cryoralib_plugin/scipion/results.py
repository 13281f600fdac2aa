# SPDX-License-Identifier: GPL-3.0-or-later
"""What viewers show, read from run files or from Scipion sets of any program, without pandas."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Dict, Mapping, Optional, Sequence, Tuple, Union

import numpy as np
from pwem.emlib.image import ImageHandler
from pwem.objects import SetOfClasses2D

from cryoralib_plugin.contract import labels
from cryoralib_plugin.contract.results import ResultPaths
from cryoralib_plugin.contract.schedule import shift_stages

from .alignment import matrices_from_texts, poses_2d
from .fill_sets import CLASS_ID
from .images import n_images
from .outputs import RESOLUTION, SCORE
from .set_reader import ITEM_ID, MATRIX, DatabaseReader
from .star import read_columns

PathLike = Union[str, Path]
_CLASS_SIZE = "_classSize"


@dataclass(frozen=True)
class IterationFiles:
    """One iteration of a run, or a set of averages that looks like one.

    Attributes
    ----------
    model
        As in the model file: box, pixel size and the list of classes.
    averages
        (n_classes, box, box) float32, class, row, column; None where there are none.
    frc
        Columns of the FRC file by name; empty where there is none.
    """

    model: Dict[str, Any]
    averages: Optional[np.ndarray] = None
    frc: Mapping[str, np.ndarray] = field(default_factory=dict)


def read_iteration(run_dir: PathLike, iteration: int) -> IterationFiles:
    """Model, averages and FRC of one iteration of a run; the poses are read by `read_poses`."""
    paths = ResultPaths(run_dir)
    model = json.loads(paths.model_json(iteration).read_text(encoding="utf-8"))
    stack = paths.classes_mrcs(iteration)
    averages = None
    if stack.is_file():
        averages = read_images([(i + 1, str(stack)) for i in range(len(model["classes"]))])
    return IterationFiles(model, averages, _read_csv(paths.frc_csv(iteration)))


def read_poses(
    run_dir: PathLike, iteration: int, pixel_size_angst: float
) -> Optional[Dict[str, np.ndarray]]:
    """Class number, psi_deg, shift_px (n, 2), mirror and score of all particles of an iteration.

    Shifts are in pixels of the averages; None where there is no file or no pose in it.
    """
    path = ResultPaths(run_dir).data_star(iteration)
    if not path.is_file():
        return None
    wanted = (
        labels.CLASS_NUMBER,
        labels.ANGLE_PSI,
        labels.ORIGIN_X_ANGST,
        labels.ORIGIN_Y_ANGST,
        labels.IS_FLIP,
        labels.FIGURE_OF_MERIT,
    )
    found = read_columns(path, "particles", wanted)
    if labels.ANGLE_PSI not in found or labels.ORIGIN_X_ANGST not in found:
        return None
    n = len(found[labels.ANGLE_PSI])
    origin = np.stack([found[labels.ORIGIN_X_ANGST], found[labels.ORIGIN_Y_ANGST]], axis=1)
    return {
        "number": found.get(labels.CLASS_NUMBER, np.ones(n, int)),
        "psi_deg": found[labels.ANGLE_PSI],
        "shift_px": origin / pixel_size_angst,
        "mirror": found.get(labels.IS_FLIP, np.zeros(n, int)) > 0,
        "score": found.get(labels.FIGURE_OF_MERIT, np.full(n, np.nan)),
    }


def read_history(run_dir: PathLike) -> Dict[str, np.ndarray]:
    """Columns of metrics.csv by name; empty before the first iteration."""
    return _read_csv(ResultPaths(run_dir).metrics_csv)


def read_averages(run_dir: PathLike) -> Dict[int, np.ndarray]:
    """Iteration to class averages (n_classes, box, box), row, column."""
    paths = ResultPaths(run_dir)
    stacks = {iteration: paths.classes_mrcs(iteration) for iteration in paths.iterations()}
    return {
        iteration: read_images([(i + 1, str(path)) for i in range(n_images(str(path)))])
        for iteration, path in stacks.items()
        if path.is_file()
    }


def read_shift_range(run_dir: PathLike) -> Optional[Tuple[float, float]]:
    """Half width in x and y of the last search stage, pixel; None where unknown."""
    path = ResultPaths(run_dir).config_json
    if not path.is_file():
        return None
    search = json.loads(path.read_text(encoding="utf-8")).get("search", {})
    if "shift_range_px" not in search:
        return None
    stage = shift_stages(SimpleNamespace(**search))[-1]
    return stage.range_x_px, stage.range_y_px


def read_image_set(images: Any) -> IterationFiles:
    """Representatives of a SetOfClasses2D, or the images of a SetOfAverages, as class averages.

    Resolution, score and number of members are there where the program that made the set stored
    them under RELION's names.
    """
    is_classes = isinstance(images, SetOfClasses2D)
    image = "_representative." if is_classes else ""
    size = "_size" if is_classes else _CLASS_SIZE
    names = (ITEM_ID, f"{image}_index", f"{image}_filename", size, RESOLUTION, SCORE)
    rows = list(_reader(images).rows(names))
    averages = None
    if rows and all(row[2] for row in rows):
        averages = read_images([(row[1] or 0, row[2]) for row in rows])
    return IterationFiles(
        {
            "iteration": 0,
            "pixel_size_angst": _sampling_rate(images),
            "box_size_px": 0 if averages is None else averages.shape[-1],
            "classes": [
                {
                    "class": identity,
                    "n_members": members or 0,
                    # Programs store 0 where they know no resolution.
                    "resolution_angst": resolution or None,
                    "mean_score": score,
                }
                for identity, _, _, members, resolution, score in rows
            ],
        },
        averages,
    )


def read_class_poses(classes: Any) -> Optional[Dict[str, np.ndarray]]:
    """As `read_poses`, of all members of a SetOfClasses2D; None where they were not aligned."""
    members = []
    for (identity,) in _reader(classes).rows((ITEM_ID,)):
        reader = DatabaseReader(classes.getFileName(), f"Class{identity:03d}")
        members += [(identity, *row) for row in reader.rows((MATRIX, SCORE))]
    return _poses_of(members)


def read_particle_poses(particles: Any) -> Optional[Dict[str, np.ndarray]]:
    """As `read_poses`, of a SetOfParticles with 2D alignment; None where it has none."""
    rows = _reader(particles).rows((CLASS_ID, MATRIX, SCORE))
    return _poses_of([(number or 0, text, score) for number, text, score in rows])


def _poses_of(rows: Sequence[Tuple[int, Optional[str], Optional[float]]]) -> Optional[Dict]:
    """Columns of poses from class numbers, stored matrices and scores."""
    aligned = [row for row in rows if row[1]]
    if not aligned:
        return None
    number, texts, score = zip(*aligned)
    psi_deg, shift_px, mirror = poses_2d(matrices_from_texts(texts))
    return {
        "number": np.array(number, int),
        "psi_deg": psi_deg,
        "shift_px": shift_px,
        "mirror": mirror,
        "score": np.array([np.nan if value is None else value for value in score], float),
    }


def read_images(locations: Sequence[Tuple[int, str]]) -> np.ndarray:
    """Images (n, box, box) float32 at Scipion locations: (index from 1, file); 0 is a single one.

    Raises
    ------
    ValueError
        If the images differ in size.
    """
    handler = ImageHandler()
    images = [np.squeeze(handler.read(location).getData()) for location in locations]
    shapes = sorted({image.shape for image in images})
    if len(shapes) > 1:
        raise ValueError(
            f"All averages must have one box size to be shown together; these have {shapes}."
        )
    return np.array(images, np.float32)


def _reader(items: Any) -> DatabaseReader:
    """The reader of a set's own rows: of a SetOfClasses2D one a class, not its members."""
    return DatabaseReader(items.getFileName(), (items.getPrefix() or "").strip())


def _sampling_rate(images: Any) -> float:
    """Pixel size of the averages, angstrom; that of the particles may be another."""
    first = images.getFirstItem()
    average = first.getRepresentative() if isinstance(images, SetOfClasses2D) and first else first
    found = average.getSamplingRate() if average is not None else None
    return float(found or images.getSamplingRate() or 1.0)


def _read_csv(path: Path) -> Dict[str, np.ndarray]:
    """Columns of numbers by name; an empty cell is NaN, a missing file has no columns."""
    if not path.is_file():
        return {}
    with open(path, encoding="utf-8", newline="") as lines:
        reader = csv.reader(lines)
        names = next(reader, [])
        rows = [[float(cell or "nan") for cell in row] for row in reader]
    table = np.array(rows, float).reshape(len(rows), len(names))
    return {name: table[:, column] for column, name in enumerate(names)}
