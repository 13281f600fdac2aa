# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known of every particle, in RELION's columns."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Dict, Mapping, Optional, Sequence, Tuple, Union

import numpy as np
import pandas as pd

from cryoralib_plugin.contract import labels
from cryoralib_plugin.geometry.rigid2d import Poses2D
from cryoralib_plugin.io.star import read_star, write_star
from cryoralib_plugin.optics.ctf import CtfParameters

from .optics_groups import common_pixel_size, split_blocks, value_of_group
from .poses import columns_of_poses, poses_from_frame
from .poses3d import columns_of_poses3d, has_angles, poses3d_from_frame

logger = logging.getLogger(__name__)
STAR_SUFFIX = ".star"
_FEWEST_SHARE_OF_A_HALF = 0.25


@dataclass(frozen=True)
class ParticleTable:
    """Particles in the style of RELION 3.1: one row each, and one row per optics group.

    Attributes
    ----------
    particles
        Frame of n rows with RELION labels; rlnImageName, rlnImageId and rlnOpticsGroup are there.
    optics
        Frame with rlnOpticsGroup, rlnImagePixelSize (when known), rlnVoltage, ...
    image_pixel_size_angst
        Pixel size of the images on disk; 0 where the file does not tell it.
    pixel_size_angst
        Pixel size that shifts of :meth:`poses` are counted in; see :meth:`at_pixel_size`.
    """

    particles: pd.DataFrame
    optics: pd.DataFrame
    image_pixel_size_angst: float
    pixel_size_angst: float

    @classmethod
    def read(cls, path: Union[str, Path], *, exact: bool = False) -> ParticleTable:
        """Read a RELION STAR file of any style; `exact` keeps the last bit of every float."""
        path = Path(path)
        return cls.from_blocks(read_star(path, exact=exact), path)

    @classmethod
    def from_blocks(
        cls, blocks: Mapping[str, object], path: Union[str, Path] = "particles"
    ) -> ParticleTable:
        """Make a table of STAR blocks; `path` is named in messages."""
        particles, optics = split_blocks(Path(path), blocks)
        particles = _with_image_ids(Path(path), particles.reset_index(drop=True))
        pixel_size = common_pixel_size(optics)
        return cls(particles, optics.reset_index(drop=True), pixel_size, pixel_size)

    @classmethod
    def from_image_names(
        cls, names: Sequence[str], *, pixel_size_angst: float = 0.0, box_size_px: int = 0
    ) -> ParticleTable:
        """Make a table of images ("000001@stack.mrcs"); sizes that are not known are 0."""
        optics: Dict[str, Any] = {
            labels.OPTICS_GROUP: [1],
            labels.OPTICS_GROUP_NAME: ["opticsGroup1"],
        }
        if pixel_size_angst:
            optics[labels.IMAGE_PIXEL_SIZE] = [float(pixel_size_angst)]
        if box_size_px:
            optics[labels.IMAGE_SIZE] = [int(box_size_px)]
            optics[labels.IMAGE_DIMENSIONALITY] = [2]
        particles = pd.DataFrame({labels.IMAGE_NAME: list(names), labels.OPTICS_GROUP: 1})
        return cls.from_blocks({"optics": pd.DataFrame(optics), "particles": particles})

    def __len__(self) -> int:
        return len(self.particles)

    @property
    def image_ids(self) -> np.ndarray:
        """(n,) int64, the global id of each particle (rlnImageId)."""
        return np.asarray(self.particles[labels.IMAGE_ID], np.int64)

    @property
    def image_names(self) -> np.ndarray:
        """(n,) words such as 000001@stack.mrcs."""
        return np.asarray(self.particles[labels.IMAGE_NAME], object)

    @property
    def class_numbers(self) -> np.ndarray:
        """(n,) int64, rlnClassNumber counted from 1; 0 where a particle has no class."""
        if labels.CLASS_NUMBER not in self.particles:
            return np.zeros(len(self), np.int64)
        return np.asarray(self.particles[labels.CLASS_NUMBER], np.int64)

    def at_pixel_size(self, pixel_size_angst: float) -> ParticleTable:
        """Return the table with shifts counted in other pixels, as after down-sampling."""
        if pixel_size_angst <= 0:
            raise ValueError(f"the pixel size must be positive, but is {pixel_size_angst} A")
        return replace(self, pixel_size_angst=float(pixel_size_angst))

    def with_image_pixel_size(self, pixel_size_angst: float, box_size_px: int) -> ParticleTable:
        """Return the table with the images' pixel and box size put into the optics groups."""
        optics = self.optics.assign(
            **{labels.IMAGE_SIZE: int(box_size_px), labels.IMAGE_DIMENSIONALITY: 2}
        )
        if self.image_pixel_size_angst > 0:
            return replace(self, optics=optics)
        size = float(pixel_size_angst)
        optics = optics.assign(**{labels.IMAGE_PIXEL_SIZE: size})
        return replace(self, optics=optics, image_pixel_size_angst=size, pixel_size_angst=size)

    def with_image_names(self, names: Sequence[str]) -> ParticleTable:
        """Return the table with other image names."""
        return replace(self, particles=self.particles.assign(**{labels.IMAGE_NAME: names}))

    def select(self, rows: np.ndarray) -> ParticleTable:
        """Return the table of some rows, their ids kept."""
        return replace(self, particles=self.particles.iloc[rows].reset_index(drop=True))

    def poses(self, rows: Optional[np.ndarray] = None) -> Poses2D:
        """Return the in-plane poses of all or some rows; shifts in px of `pixel_size_angst`."""
        return poses_from_frame(self._rows(rows), self._known_pixel_size())

    def with_poses(
        self,
        poses: Poses2D,
        *,
        rows: Optional[np.ndarray] = None,
        class_numbers: Optional[np.ndarray] = None,
        scores: Optional[np.ndarray] = None,
    ) -> ParticleTable:
        """Return the table with new poses and, if given, classes and scores of all or some rows.

        Parameters
        ----------
        poses
            Of n particles, or of `len(rows)`.
        rows
            (m,) integers; None stands for all rows.
        class_numbers
            (n,) or (m,) integers counted from 1; 0 stands for no class.
        scores
            (n,) or (m,) float; goes to rlnParticleFigureOfMerit.
        """
        columns = columns_of_poses(poses, self._known_pixel_size())
        if class_numbers is not None:
            columns[labels.CLASS_NUMBER] = np.asarray(class_numbers, np.int64)
        if scores is not None:
            columns[labels.FIGURE_OF_MERIT] = np.asarray(scores, np.float64)
        return self.with_columns(columns, rows=rows)

    def poses3d(
        self, rows: Optional[np.ndarray] = None
    ) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the poses in space of all or some rows, and which of them are known.

        Returns
        -------
        rotations : (n, 4) float64, w x y z; the identity where no pose is known.
        shift_px : (n, 2) float64, px of `pixel_size_angst`; 0 where no pose is known.
        known : (n,) bool; all False where rot and tilt are 0 in every row of the table, as they
            are after extraction or 2D classification.
        """
        return poses3d_from_frame(
            self._rows(rows), self._known_pixel_size(), is_posed=has_angles(self.particles)
        )

    def with_poses3d(
        self,
        rotations: np.ndarray,
        shift_px: np.ndarray,
        *,
        rows: Optional[np.ndarray] = None,
    ) -> ParticleTable:
        """Return the table with new poses in space of all or some rows.

        Parameters
        ----------
        rotations
            (n, 4) or (len(rows), 4) float, w x y z, unit.
        shift_px
            (n, 2) or (len(rows), 2) float, px of `pixel_size_angst`.
        """
        columns = columns_of_poses3d(rotations, shift_px, self._known_pixel_size())
        return self.with_columns(columns, rows=rows)

    def with_columns(
        self, columns: Mapping[str, np.ndarray], *, rows: Optional[np.ndarray] = None
    ) -> ParticleTable:
        """Return the table with columns replaced in all or some rows; absent ones start at 0."""
        if rows is not None:
            columns = {name: self._patched(name, rows, part) for name, part in columns.items()}
        return replace(self, particles=self.particles.assign(**columns))

    def _patched(self, name: str, rows: np.ndarray, part: np.ndarray) -> np.ndarray:
        part = np.asarray(part)
        if name in self.particles:
            old = np.asarray(self.particles[name])
            whole = old.astype(np.result_type(old, part))
        else:
            whole = np.zeros(len(self), part.dtype)
        whole[rows] = part
        return whole

    def ctf(self, rows: Optional[np.ndarray] = None) -> CtfParameters:
        """Return the optics of all or some rows; `checks.check_ctf` tells what is missing."""
        frame = self._rows(rows)

        def of_row(name: str) -> np.ndarray:
            if name in frame:
                return np.asarray(frame[name], np.float64)
            return np.zeros(len(frame))

        def of_group(name: str) -> np.ndarray:
            return value_of_group(frame, self.optics, name) if name in self.optics else of_row(name)

        return CtfParameters(
            defocus_u_angst=of_row(labels.DEFOCUS_U),
            defocus_v_angst=of_row(
                labels.DEFOCUS_V if labels.DEFOCUS_V in frame else labels.DEFOCUS_U
            ),
            defocus_angle_deg=of_row(labels.DEFOCUS_ANGLE),
            voltage_kv=of_group(labels.VOLTAGE),
            cs_mm=of_group(labels.SPHERICAL_ABERRATION),
            amplitude_contrast=of_group(labels.AMPLITUDE_CONTRAST),
            phase_shift_deg=of_row(labels.PHASE_SHIFT),
        )

    def half_sets(self) -> np.ndarray:
        """Return the half of every particle, (n,) int8 of 0 or 1, the same in every run.

        rlnRandomSubset (1 or 2) is kept where the file has it; else the parity of rlnImageId
        decides, or that of its rank among the ids where one parity is rare, as in a subset that
        took every other particle.
        """
        if labels.RANDOM_SUBSET in self.particles:
            subset = self.particles[labels.RANDOM_SUBSET].to_numpy()
            if np.isin(subset, (1, 2)).all() and (len(self) < 2 or len(np.unique(subset)) == 2):
                return np.asarray(subset - 1, np.int8)
            logger.warning(
                "%s does not divide the particles into halves 1 and 2: particle ids do it instead",
                labels.RANDOM_SUBSET,
            )
        parity = self.image_ids % 2
        share = parity.mean() if len(parity) > 1 else 0.5
        if min(share, 1 - share) < _FEWEST_SHARE_OF_A_HALF:
            parity = np.argsort(np.argsort(self.image_ids, kind="stable"), kind="stable") % 2
        return parity.astype(np.int8)

    def with_half_sets(self) -> ParticleTable:
        """Return the table with its half sets written down in rlnRandomSubset."""
        return self.with_columns({labels.RANDOM_SUBSET: self.half_sets().astype(np.int64) + 1})

    def blocks(self) -> Dict[str, pd.DataFrame]:
        """Return what a STAR file of RELION 3.1 holds: "optics" and "particles"."""
        return {"optics": self.optics, "particles": self.particles}

    def write(self, path: Union[str, Path]) -> None:
        """Write a STAR file in the style of RELION 3.1."""
        write_star(path, self.blocks())

    def _rows(self, rows: Optional[np.ndarray]) -> pd.DataFrame:
        return self.particles if rows is None else self.particles.iloc[rows]

    def _known_pixel_size(self) -> float:
        if self.pixel_size_angst <= 0:
            raise ValueError(
                "the pixel size of the particles is not known, so shifts in Angstrom mean nothing: "
                "open their images first, or add rlnImagePixelSize"
            )
        return self.pixel_size_angst


def _with_image_ids(path: Path, particles: pd.DataFrame) -> pd.DataFrame:
    if labels.IMAGE_ID not in particles:
        return particles.assign(**{labels.IMAGE_ID: np.arange(1, len(particles) + 1)})
    ids = pd.to_numeric(particles[labels.IMAGE_ID], errors="coerce")
    if ids.isna().any() or (ids != np.rint(ids)).any():
        raise ValueError(f"column {labels.IMAGE_ID} of {path} must hold whole numbers")
    repeated = np.flatnonzero(ids.duplicated(keep=False).to_numpy())
    if repeated.size:
        first = ids.iloc[repeated[0]]
        twin = np.flatnonzero((ids == first).to_numpy())[1]
        raise ValueError(
            f"every particle must have an id of its own, but {labels.IMAGE_ID} {int(first)} "
            f"stands in rows {repeated[0] + 1} and {twin + 1} of {path}: were two files joined? "
            "Remove the column to number the particles anew"
        )
    return particles.assign(**{labels.IMAGE_ID: ids.astype(np.int64)})
