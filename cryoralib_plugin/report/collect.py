# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads what a run left into the tables that figures are drawn from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Dict, Optional, Tuple

import numpy as np
import pandas as pd

from cryoralib_plugin.contract import labels
from cryoralib_plugin.contract.results import ResultPaths
from cryoralib_plugin.contract.schedule import shift_stages
from cryoralib_plugin.figures import ClassTable, FrcTable, History, IterationResults, PoseTable
from cryoralib_plugin.io.documents import read_csv, read_json
from cryoralib_plugin.io.mrc import read_mrc
from cryoralib_plugin.io.run_files import RunFiles
from cryoralib_plugin.io.star import read_star

_ADVICE = (
    "give what was --output-dir of an alignment, or the folder extra/run of a Scipion protocol "
    "(Runs/<number>_<protocol>/extra/run)"
)


@dataclass(frozen=True)
class RunRecord:
    """What every run leaves, whatever its program.

    Attributes
    ----------
    program
        Its name; empty where nothing tells.
    iteration
        The newest whole one; None where none was finished.
    history, metrics
        The figures of merit, as arrays and as the frame of metrics.csv.
    quarantine
        Particles set aside, columns `contract.results.QUARANTINE_COLUMNS`.
    config, status
        Content of config.json and status.json; empty where absent.
    """

    paths: ResultPaths
    program: str
    iteration: Optional[int]
    history: History
    metrics: pd.DataFrame
    quarantine: pd.DataFrame
    config: Dict[str, Any]
    status: Dict[str, Any]

    @property
    def run_dir(self) -> Path:
        """The folder of the run."""
        return Path(self.paths.run_dir)


@dataclass(frozen=True)
class RunReport:
    """A 2D run as a reader wants it.

    Attributes
    ----------
    results
        The newest whole iteration; None where none was finished.
    averages
        Iteration to class averages (n_classes, box, box), row, column; all whole iterations.
    """

    record: RunRecord
    results: Optional[IterationResults]
    averages: Dict[int, np.ndarray]

    @property
    def shift_range_px(self) -> Optional[Tuple[float, float]]:
        """Half width in x and y of the last search stage, pixel; None where unknown."""
        search = self.record.config.get("search")
        if not isinstance(search, dict) or "shift_range_px" not in search:
            return None
        stage = shift_stages(SimpleNamespace(**search))[-1]
        return stage.range_x_px, stage.range_y_px


def read_record(run_dir: Path) -> RunRecord:
    """Read what every run leaves; whatever is missing is left empty.

    Raises
    ------
    FileNotFoundError
        If the directory does not exist or nothing in it comes from a run.
    """
    paths, files = ResultPaths(run_dir), RunFiles(ResultPaths(run_dir))
    if not Path(run_dir).is_dir():
        what = "is a file" if Path(run_dir).exists() else "does not exist"
        raise FileNotFoundError(f"{run_dir} must be the folder of a run, but {what}: {_ADVICE}")
    iteration = paths.last_iteration()
    if iteration is None and not paths.config_json.is_file() and not paths.status_json.is_file():
        raise FileNotFoundError(
            f"{run_dir} must be the folder of a run, but holds neither config.json nor status.json "
            f"nor a finished iteration: {_ADVICE}"
        )
    metrics, config = files.read_metrics(), read_json(paths.config_json)
    model = {} if iteration is None else read_json(paths.model_json(iteration))
    return RunRecord(
        paths=paths,
        program=str(model.get("program") or config.get("program") or "").lower(),
        iteration=iteration,
        history=_history(metrics),
        metrics=metrics,
        quarantine=read_csv(paths.quarantine_csv),
        config=config,
        status=files.read_status(),
    )


def collect(record: RunRecord) -> RunReport:
    """Read the averages, curves and poses of a 2D run."""
    paths, iteration = record.paths, record.iteration
    return RunReport(
        record=record,
        results=None if iteration is None else read_iteration(paths, iteration),
        averages={
            number: read_mrc(paths.classes_mrcs(number))[0]
            for number in paths.iterations()
            if paths.classes_mrcs(number).is_file()
        },
    )


def read_iteration(paths: ResultPaths, iteration: int) -> IterationResults:
    """Read model, averages, FRC and poses of one iteration."""
    model = read_json(paths.model_json(iteration))
    pixel_size_angst = float(model["pixel_size_angst"])
    averages_file, star_file = paths.classes_mrcs(iteration), paths.data_star(iteration)
    return IterationResults(
        iteration=iteration,
        program=str(model.get("program", "")),
        pixel_size_angst=pixel_size_angst,
        box_size_px=int(model["box_size_px"]),
        outer_radius_px=float(model.get("outer_radius_px") or 0),
        classes=ClassTable.from_records(model["classes"]),
        averages=read_mrc(averages_file)[0] if averages_file.is_file() else None,
        frc=_read_frc(paths.frc_csv(iteration), pixel_size_angst),
        poses=_read_poses(star_file, pixel_size_angst) if star_file.is_file() else None,
    )


def _read_frc(path: Path, pixel_size_angst: float) -> Optional[FrcTable]:
    frame = read_csv(path)
    if frame.empty:
        return None
    return FrcTable(
        number=frame["class"].to_numpy(int),
        frequency_inv_angst=frame["frequency_per_px"].to_numpy(float) / pixel_size_angst,
        frc=frame["frc"].to_numpy(float),
    )


def _read_poses(path: Path, pixel_size_angst: float) -> Optional[PoseTable]:
    """Poses of the particles block; RELION 3.0 gives shifts in pixels, 3.1 in angstrom."""
    blocks = read_star(path)
    frame = blocks.get("particles", next(iter(blocks.values())))
    if not isinstance(frame, pd.DataFrame) or labels.ANGLE_PSI not in frame:
        return None
    in_angst = labels.ORIGIN_X_ANGST in frame
    names = (
        (labels.ORIGIN_X_ANGST, labels.ORIGIN_Y_ANGST)
        if in_angst
        else (labels.ORIGIN_X_PX, labels.ORIGIN_Y_PX)
    )
    shift = np.stack([_column(frame, name, 0.0) for name in names], axis=1)
    return PoseTable(
        number=_column(frame, labels.CLASS_NUMBER, 0.0).astype(int),
        psi_deg=_column(frame, labels.ANGLE_PSI, 0.0),
        shift_px=shift / pixel_size_angst if in_angst else shift,
        mirror=_column(frame, labels.IS_FLIP, 0.0) != 0,
        score=_column(frame, labels.FIGURE_OF_MERIT, np.nan),
    )


def _column(frame: pd.DataFrame, name: str, otherwise: float) -> np.ndarray:
    if name not in frame:
        return np.full(len(frame), otherwise)
    return np.asarray(frame[name].to_numpy(float))


def _history(metrics: pd.DataFrame) -> History:
    if metrics.empty:
        return History()
    words = {"stage": metrics["stage"].to_numpy(object)} if "stage" in metrics else {}
    numbers = metrics.drop(columns=list(words)).apply(pd.to_numeric, errors="coerce")
    columns = {str(name): numbers[name].to_numpy(float) for name in numbers}
    return History.from_columns({**columns, **words})
