# SPDX-License-Identifier: GPL-3.0-or-later
"""What the figures of a 3D refinement are drawn from: particles, correlation curves and maps.

An unknown number is NaN, an unknown column is all NaN, an unknown map is None; the figures say so
in words.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from cryoralib_plugin.contract.reconstruct import ReconstructConfig

from .tables import ClassTable


@dataclass(frozen=True)
class RefinedParticles:
    """Pose of every particle and how sure it is.

    Parameters
    ----------
    number : (n,) int, class number
    rot_deg, tilt_deg, psi_deg : (n,) float, degree, as rlnAngleRot, rlnAngleTilt, rlnAnglePsi
    shift_px : (n, 2) float, x (column) and y (row), pixel
    score : (n,) float, amplitude relative to the map: about 1, low for junk
    weight : (n,) float, how much the particle counts in the map
    angular_std_deg : (n,) float, degree, width of the posterior over rotations
    shift_std_px : (n,) float, pixel, width of the posterior over shifts
    probability : (n,) float, of the most likely class
    defocus_angst : (n,) float, angstrom, mean of rlnDefocusU and rlnDefocusV as refined
    defocus_factor : (n,) float, refined over given defocus
    """

    number: np.ndarray
    rot_deg: np.ndarray
    tilt_deg: np.ndarray
    psi_deg: np.ndarray
    shift_px: np.ndarray
    score: np.ndarray
    weight: np.ndarray
    angular_std_deg: np.ndarray
    shift_std_px: np.ndarray
    probability: np.ndarray
    defocus_angst: np.ndarray
    defocus_factor: np.ndarray

    def __post_init__(self) -> None:
        lengths = {column.name: len(getattr(self, column.name)) for column in fields(self)}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"Columns of particles must have one length, but are {lengths}.")

    def __len__(self) -> int:
        return len(self.number)

    @classmethod
    def from_columns(cls, columns: Mapping[str, Any]) -> RefinedParticles:
        """Take the columns of these names; those that are absent are unknown.

        Without a class number all particles are in class 1.
        """
        n = len(columns["tilt_deg"])
        found = {
            column.name: np.asarray(columns.get(column.name, np.full(n, np.nan)), float)
            for column in fields(cls)
            if column.name not in ("number", "shift_px")
        }
        number = np.nan_to_num(np.asarray(columns.get("number", np.ones(n)), float), nan=1.0)
        shift_px = np.asarray(columns.get("shift_px", np.full((n, 2), np.nan)), float)
        return cls(number=number.astype(int), shift_px=shift_px, **found)

    def in_classes(self, n_classes: int) -> RefinedParticles:
        """Return the particles that a run of so many classes could use: those of class 0 go.

        Of a run with one class all are in class 1, whatever an earlier program called it.
        """
        used = self.select(set(self.number.tolist()) - {0})
        return replace(used, number=np.ones_like(used.number)) if n_classes == 1 else used

    def select(self, numbers: Collection[int]) -> RefinedParticles:
        """Return the members of the named classes."""
        rows = np.isin(self.number, np.asarray(list(numbers), dtype=int))
        return RefinedParticles(*(getattr(self, column.name)[rows] for column in fields(self)))


@dataclass(frozen=True)
class FscTable:
    """Correlation of the half maps, one row a class and shell.

    Parameters
    ----------
    number, shell : (n_rows,) int, class number and Fourier pixel
    frequency_inv_angst : (n_rows,) float, 1/angstrom
    unmasked, masked, randomised, corrected : (n_rows,) float, NaN where not measured
    """

    number: np.ndarray
    shell: np.ndarray
    frequency_inv_angst: np.ndarray
    unmasked: np.ndarray
    masked: np.ndarray
    randomised: np.ndarray
    corrected: np.ndarray

    @classmethod
    def from_columns(
        cls, columns: Mapping[str, np.ndarray], box_size_px: int, pixel_size_angst: float
    ) -> FscTable:
        """Take the columns of a file, `contract.results.FSC_COLUMNS`."""
        unknown = np.full(len(columns["shell"]), np.nan)
        curves = ("unmasked", "masked", "randomised", "corrected")
        return cls(
            np.asarray(columns["class"], int),
            np.asarray(columns["shell"], int),
            np.asarray(columns["shell"], float) / (box_size_px * pixel_size_angst),
            *(np.asarray(columns.get(f"fsc_{name}", unknown), float) for name in curves),
        )

    def of_class(self, number: int) -> FscTable:
        """Return the rows of one class, from low to high frequency, without the mean of the map."""
        rows = np.flatnonzero((self.number == number) & (self.shell > 0))
        rows = rows[np.argsort(self.shell[rows], kind="stable")]
        return FscTable(*(getattr(self, column.name)[rows] for column in fields(self)))


@dataclass(frozen=True)
class DirectionalFsc:
    """Correlation of the half maps of a class along directions.

    Parameters
    ----------
    directions : (n_directions, 3) float, x y z, unit; each stands for its opposite too
    frequency_inv_angst : (n_shells,) float, rising, 1/angstrom
    curves : (n_directions, n_shells) float
    area_ratio : smallest over largest area below a curve (cFAR); NaN where unknown
    sampling : how evenly the views sample Fourier space (SCF*); NaN where unknown
    """

    directions: np.ndarray
    frequency_inv_angst: np.ndarray
    curves: np.ndarray
    area_ratio: float = float("nan")
    sampling: float = float("nan")


@dataclass(frozen=True)
class RoundResults:
    """What one round of a refinement left, ready to be drawn; maps are apart, for their size.

    Parameters
    ----------
    stage : of the search; empty where nothing was searched
    symmetry : point group, for instance C1
    cutoff_px : Fourier pixels up to which particles were compared; NaN where they were not
    classes : as in 2D, a class being a map
    fsc, particles : None where the file is missing
    """

    iteration: int
    program: str
    stage: str
    cutoff_px: float
    pixel_size_angst: float
    box_size_px: int
    symmetry: str
    classes: ClassTable
    fsc: FscTable | None = None
    particles: RefinedParticles | None = None

    @classmethod
    def from_model(
        cls, model: Mapping[str, Any], fsc_columns: Mapping[str, np.ndarray] | None = None
    ) -> RoundResults:
        """Take the content of a model file and the columns of an FSC file; no particles yet."""
        box, pixel = int(model["box_size_px"]), float(model["pixel_size_angst"])
        program = str(model.get("program", ""))
        # A reconstruction from known poses writes these too, but compares nothing.
        searched = program != ReconstructConfig.program
        return cls(
            iteration=int(model["iteration"]),
            program=program,
            stage=str(model.get("stage") or "") if searched else "",
            cutoff_px=float(model.get("cutoff_px") or np.nan) if searched else float("nan"),
            pixel_size_angst=pixel,
            box_size_px=box,
            symmetry=str(model.get("symmetry") or "C1"),
            classes=ClassTable.from_records(model.get("classes", [])),
            fsc=FscTable.from_columns(fsc_columns, box, pixel) if fsc_columns else None,
        )

    @property
    def cutoff_inv_angst(self) -> float:
        """The cut-off as a spatial frequency, 1/angstrom; NaN where unknown."""
        return self.cutoff_px / (self.box_size_px * self.pixel_size_angst)
