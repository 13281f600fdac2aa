# SPDX-License-Identifier: GPL-3.0-or-later
"""The name of every file a run leaves, and the columns of those that are tables.

`config.json` and the particle file are all a run starts from; the rest is written by the root
rank. An iteration is whole when its manifest is there, because the manifest is written last.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Optional, Union

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

FSC_COLUMNS = (
    "class",
    "shell",
    "resolution_angst",
    "fsc_unmasked",
    "fsc_masked",
    "fsc_randomised",
    "fsc_corrected",
    "fsc_used",
)
"""Correlations of the half maps of a 3D run; fsc_used is the one that decided in the run, and what
a run without a masked curve does not measure stays empty."""

NOISE_COLUMNS = ("half", "group", "shell", "noise_power")
"""Halves, 1 and 2, and groups, from 1, with the variance of a real or imaginary part of the
unnormalised spectrum of their noise."""

DIRECTIONAL_FSC_COLUMNS = ("class", "rot_deg", "tilt_deg", "shell", "fsc")
"""Correlation of the half maps in cones about directions of half a sphere, in the mask."""

ANISOTROPY_COLUMNS = ("class", "area_ratio", "sampling_compensation")
"""cFAR and SCF* of each class: what directional correlations and views come to."""

METRICS3D_COLUMNS = (
    "iteration",
    "stage",
    "cutoff_px",
    "cutoff_angst",
    "resolution_angst",
    "resolution_unmasked_angst",
    "median_angular_std_deg",
    "median_shift_std_px",
    "median_rotation_change_deg",
    "median_score",
    "mean_phases",
)
"""The first columns of metrics.csv of a 3D run; shares of classes and seconds_* follow. The
resolutions are those of the best class."""

QUARANTINE_COLUMNS = ("rlnImageId", "rlnImageName", "reason")

RUNNING, FINISHED, FAILED = "running", "finished", "failed"
"""The states in status.json; the file is written last, so "finished" means that all is there."""

_MANIFEST = re.compile(r"run_it(\d{3,})_manifest\.json")


def class_share_column(class_number: int) -> str:
    """The column of metrics.csv with the share of particles in a class, counted from 1."""
    return f"class_share_{class_number:03d}"


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
        """One row an iteration; see METRICS_COLUMNS and METRICS3D_COLUMNS."""
        return self._file("metrics.csv")

    @property
    def quarantine_csv(self) -> Path:
        """The particles that were set aside and why; see QUARANTINE_COLUMNS."""
        return self._file("quarantine.csv")

    @property
    def report_dir(self) -> Path:
        """Pictures, tables and page of the `report` program."""
        return self._file("report")

    @property
    def report_html(self) -> Path:
        """The page of the report."""
        return self.report_dir / "report.html"

    def data_star(self, iteration: int) -> Path:
        """Particles with class, pose, score and, in 3D, uncertainties (`contract.labels`)."""
        return self._of_iteration(iteration, "data.star")

    def data_thu(self, iteration: int) -> Path:
        """The same in THUNDER's format, where a 3D run began from such a file."""
        return self._of_iteration(iteration, "data.thu")

    def classes_mrcs(self, iteration: int) -> Path:
        """Class averages, one slice a class."""
        return self._of_iteration(iteration, "classes.mrcs")

    def half_classes_mrcs(self, iteration: int, half: int) -> Path:
        """Class averages of one half of the particles; half is 1 or 2."""
        return self._of_iteration(iteration, f"half{half}_classes.mrcs")

    def frc_csv(self, iteration: int) -> Path:
        """Fourier ring correlation of the halves, per class; see FRC_COLUMNS."""
        return self._of_iteration(iteration, "frc.csv")

    def unfiltered_half_mrc(self, iteration: int, half: int, class_number: int) -> Path:
        """Half map as it was reconstructed; half is 1 or 2, classes are counted from 1."""
        name = f"half{half}_class{class_number:03d}_unfil.mrc"
        return self._of_iteration(iteration, name)

    def reference_mrc(self, iteration: int, half: int, class_number: int) -> Path:
        """What the particles of a half are compared with in the next round."""
        return self._of_iteration(iteration, f"half{half}_class{class_number:03d}.mrc")

    def merged_mrc(self, iteration: int, class_number: int) -> Path:
        """The map of both halves, filtered."""
        return self._of_iteration(iteration, f"class{class_number:03d}.mrc")

    def masked_mrc(self, iteration: int, class_number: int) -> Path:
        """The map of both halves, filtered, inside its mask."""
        return self._of_iteration(iteration, f"class{class_number:03d}_masked.mrc")

    def mask_mrc(self, iteration: int, class_number: int) -> Path:
        """The mask of a class, between 0 and 1."""
        return self._of_iteration(iteration, f"mask_class{class_number:03d}.mrc")

    def maps_of_class(self, iteration: int, class_number: int) -> Dict[str, Path]:
        """The maps that users look at: "merged", "mask", "half1" and "half2", unfiltered."""
        return {
            "merged": self.merged_mrc(iteration, class_number),
            "mask": self.mask_mrc(iteration, class_number),
            "half1": self.unfiltered_half_mrc(iteration, 1, class_number),
            "half2": self.unfiltered_half_mrc(iteration, 2, class_number),
        }

    def fsc_csv(self, iteration: int) -> Path:
        """Fourier shell correlations of the half maps, per class; see FSC_COLUMNS."""
        return self._of_iteration(iteration, "fsc.csv")

    def noise_csv(self, iteration: int) -> Path:
        """Noise power by half, group and shell; see NOISE_COLUMNS."""
        return self._of_iteration(iteration, "noise.csv")

    def cloud_h5(self, iteration: int) -> Path:
        """Support points of every particle, from which a 3D run continues."""
        return self._of_iteration(iteration, "cloud.h5")

    def directional_fsc_csv(self, iteration: int) -> Path:
        """What the report program computes of directions; see DIRECTIONAL_FSC_COLUMNS."""
        return self.report_dir / self._of_iteration(iteration, "directional_fsc.csv").name

    def anisotropy_csv(self, iteration: int) -> Path:
        """What the report program computes of anisotropy; see ANISOTROPY_COLUMNS."""
        return self.report_dir / self._of_iteration(iteration, "anisotropy.csv").name

    def chimerax_script(self, iteration: int) -> Path:
        """Opens the maps of a round in ChimeraX; written by the report program and by viewers."""
        return self.report_dir / self._of_iteration(iteration, "maps.cxc").name

    def model_json(self, iteration: int) -> Path:
        """Box, pixel size and, per class, members, resolution and mean score or share."""
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
