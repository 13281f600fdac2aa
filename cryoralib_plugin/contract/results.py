# SPDX-License-Identifier: GPL-3.0-or-later
"""The name of every file a run leaves, and the columns of those that are tables.

`config.json` and the particle file are all a run starts from; the rest is written by the root
rank. An iteration is whole when its manifest is there, because the manifest is written last.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import List, Optional, Union

FRC_COLUMNS = ("class", "ring", "frequency_per_px", "resolution_angst", "frc")

METRICS_COLUMNS = (
    "iteration",
    "effective_classes",
    "dead_classes",
    "median_class_size",
    "mean_score",
    "pixel_error_px",
    "changed_fraction",
    "mirror_consistency",
    "resolution_best_angst",
)
"""The first columns of metrics.csv, one row an iteration; columns seconds_* of phases follow."""

QUARANTINE_COLUMNS = ("rlnImageId", "rlnImageName", "reason")

RUNNING, FINISHED, FAILED = "running", "finished", "failed"
"""The states in status.json; the file is written last, so "finished" means that all is there."""

_MANIFEST = re.compile(r"run_it(\d{3,})_manifest\.json")


@dataclass(frozen=True)
class ResultPaths:
    """The files of one run directory; iterations are counted from 1, halves are 1 and 2."""

    run_dir: Union[str, Path]

    def _file(self, name: str) -> Path:
        return Path(self.run_dir) / name

    def _of_iteration(self, iteration: int, name: str) -> Path:
        return self._file(f"run_it{iteration:03d}_{name}")

    @property
    def config_json(self) -> Path:
        """All parameters of the run."""
        return self._file("config.json")

    @property
    def status_json(self) -> Path:
        """{"state", "iteration", "message", "version"}: how the run ended; written last."""
        return self._file("status.json")

    @property
    def log(self) -> Path:
        """What was said on the screen."""
        return self._file("run.log")

    @property
    def metrics_csv(self) -> Path:
        """One row an iteration; see METRICS_COLUMNS."""
        return self._file("metrics.csv")

    @property
    def quarantine_csv(self) -> Path:
        """The particles that were set aside and why; see QUARANTINE_COLUMNS."""
        return self._file("quarantine.csv")

    @property
    def report_dir(self) -> Path:
        """Pictures and report.html of the `report` program."""
        return self._file("report")

    def data_star(self, iteration: int) -> Path:
        """Particles with class, pose and score (RELION labels)."""
        return self._of_iteration(iteration, "data.star")

    def classes_mrcs(self, iteration: int) -> Path:
        """Class averages, one slice a class."""
        return self._of_iteration(iteration, "classes.mrcs")

    def half_classes_mrcs(self, iteration: int, half: int) -> Path:
        """Class averages of one half of the particles; half is 1 or 2."""
        return self._of_iteration(iteration, f"half{half}_classes.mrcs")

    def frc_csv(self, iteration: int) -> Path:
        """Fourier ring correlation of the halves, per class; see FRC_COLUMNS."""
        return self._of_iteration(iteration, "frc.csv")

    def model_json(self, iteration: int) -> Path:
        """Box, pixel size and, per class, members, resolution and mean score."""
        return self._of_iteration(iteration, "model.json")

    def manifest_json(self, iteration: int) -> Path:
        """Names and sha256 sums of the iteration's files; written after all of them."""
        return self._of_iteration(iteration, "manifest.json")

    def iterations(self) -> List[int]:
        """The iterations whose manifest exists, oldest first."""
        found = (_MANIFEST.fullmatch(path.name) for path in Path(self.run_dir).glob("run_it*"))
        return sorted(int(match.group(1)) for match in found if match)

    def last_iteration(self) -> Optional[int]:
        """The newest iteration whose manifest exists; None where there is none."""
        found = self.iterations()
        return found[-1] if found else None
