# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads what a round of a 3D run left: model, curves and particles at once, maps one by one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Dict, List, Optional

import numpy as np
import pandas as pd

from cryoralib_plugin.contract import labels
from cryoralib_plugin.contract.results import ResultPaths
from cryoralib_plugin.figures import RefinedParticles, RoundResults
from cryoralib_plugin.io.documents import read_csv, read_json
from cryoralib_plugin.io.mrc import read_mrc
from cryoralib_plugin.io.star import read_star

_COLUMNS = {
    "rot_deg": labels.ANGLE_ROT,
    "tilt_deg": labels.ANGLE_TILT,
    "psi_deg": labels.ANGLE_PSI,
    "number": labels.CLASS_NUMBER,
    "score": labels.FIGURE_OF_MERIT,
    "weight": labels.WEIGHT,
    "angular_std_deg": labels.ANGULAR_STD,
    "shift_std_px": labels.SHIFT_STD,
    "probability": labels.MAX_PROBABILITY,
    "defocus_factor": labels.DEFOCUS_FACTOR,
}


@dataclass(frozen=True)
class ClassMaps:
    """The maps of one class, each (N, N, N) float32, z, y, x; None where the file is missing."""

    merged: Optional[np.ndarray]
    mask: Optional[np.ndarray]
    half1: Optional[np.ndarray]
    half2: Optional[np.ndarray]


@dataclass(frozen=True)
class RoundReport:
    """A round of a 3D run as a reader wants it.

    Attributes
    ----------
    model
        Content of the model file.
    """

    paths: ResultPaths
    model: Dict[str, Any]
    results: RoundResults

    @property
    def numbers(self) -> List[int]:
        """Class numbers, largest class first."""
        classes = self.results.classes
        return [int(classes.number[row]) for row in classes.order("size")]

    def maps(self, number: int) -> ClassMaps:
        """Read the maps of a class."""
        files = self.paths.maps_of_class(self.results.iteration, number)
        return ClassMaps(**{part: _read_map(path) for part, path in files.items()})

    def name(self, what: str, number: int) -> str:
        """Return the title of a picture, with the class where there are several."""
        return what if len(self.results.classes) == 1 else f"{what} of class {number}"


def read_round(paths: ResultPaths, iteration: int) -> RoundReport:
    """Read model, curves and particles of one round."""
    model, curves = read_json(paths.model_json(iteration)), read_csv(paths.fsc_csv(iteration))
    results = RoundResults.from_model(model, {str(name): curves[name] for name in curves})
    particles = _read_particles(paths.data_star(iteration), results.pixel_size_angst)
    if particles is not None:
        results = replace(results, particles=particles.in_classes(len(results.classes)))
    return RoundReport(paths, model, results)


def _read_particles(path: Path, pixel_size_angst: float) -> Optional[RefinedParticles]:
    if not path.is_file():
        return None
    blocks = read_star(path)
    frame = blocks.get("particles", next(iter(blocks.values())))
    if not isinstance(frame, pd.DataFrame) or labels.ANGLE_TILT not in frame:
        return None
    found = {
        name: frame[column].to_numpy(float) for name, column in _COLUMNS.items() if column in frame
    }
    origin = (labels.ORIGIN_X_ANGST, labels.ORIGIN_Y_ANGST)
    if all(name in frame for name in origin):
        found["shift_px"] = frame[list(origin)].to_numpy(float) / pixel_size_angst
    if labels.DEFOCUS_U in frame and labels.DEFOCUS_V in frame:
        pair = frame[[labels.DEFOCUS_U, labels.DEFOCUS_V]].to_numpy(float)
        found["defocus_angst"] = pair.mean(axis=1)
    return RefinedParticles.from_columns(found)


def _read_map(path: Path) -> Optional[np.ndarray]:
    return read_mrc(path)[0] if path.is_file() else None
