# SPDX-License-Identifier: GPL-3.0-or-later
"""What a refinement works on: its particles, its ranks and what does not change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Iterator, Optional, Tuple

import numpy as np

from cryoralib_plugin.contract import labels
from cryoralib_plugin.fourier.band import FourierBand
from cryoralib_plugin.geometry.symmetry import symmetry_operators
from cryoralib_plugin.optics.ctf import CtfParameters
from cryoralib_plugin.parallel.partition import rows_of_rank
from cryoralib_plugin.particles.batches import fitting_batches

from .particle_data import ParticleData, particle_data
from .schedule import Limits, limits
from .state import Refine3DState

DEFAULT_BATCH_SIZE = 256
_SHARE_OF_THE_BOX = 0.9


@dataclass(frozen=True)
class Task:
    """Particles and tools of one rank.

    Attributes
    ----------
    rows : (n_rows,) int64, rows of the particle table that belong to this rank.
    ids : (n_rows,) int64, rlnImageId, what random draws are keyed by.
    half : (n_rows,) int8, half set 0 or 1.
    part : (n_rows,) int64, part of the half, from 0 to `n_parts`.
    group : (n_rows,) int64, number of the noise group, from 0.
    n_groups : of the whole set.
    ctf : optics of the same particles.
    operators : (order, 4) float64, of the symmetry, the identity first.
    limits : of the cut-offs.
    """

    config: Any
    table: Any
    source: Any
    device: Any
    comm: Any
    rows: np.ndarray
    ids: np.ndarray
    half: np.ndarray
    part: np.ndarray
    group: np.ndarray
    n_groups: int
    ctf: CtfParameters
    operators: np.ndarray
    limits: Limits

    @property
    def box_size_px(self) -> int:
        """Side of the images and maps."""
        return int(self.source.box_size_px)

    @property
    def pixel_size_angst(self) -> float:
        """Pixel size of the images and maps."""
        return float(self.source.pixel_size_angst)

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return int(self.config.reference.n_classes)

    @property
    def n_parts(self) -> int:
        """Parts of a half; particles are compared with maps made without those of their part."""
        return int(self.config.reconstruction.parts_of_half(self.box_size_px))

    @property
    def diameter_angst(self) -> float:
        """Diameter of the particle."""
        return diameter_angst(self.config, self.box_size_px, self.pixel_size_angst)

    def batches(
        self, half: int, state: Refine3DState, band: FourierBand, part: Optional[int] = None
    ) -> Iterator[Tuple[np.ndarray, ParticleData]]:
        """Yield this rank's particles of one half, whitened; unusable ones are left out.

        Parameters
        ----------
        half : 0 or 1.
        state : noise by group, and what brings images to the grey scale of the map.
        band : the terms.
        part : of the half; all of it if None.

        Yields
        ------
        indices : (n,) int64, indices into `rows`.
        data : on the device.
        """

        def whitened(rows: np.ndarray, images: Any) -> ParticleData:
            chosen = np.searchsorted(self.rows, rows)
            factor, noise_power = state.grey_scale(half, rows, self.group[chosen])
            if (factor != 1.0).any():
                images = images * self.device.to_device(factor)[:, None, None]
            return particle_data(
                images,
                self.device.to_device(self.ids[chosen]),
                self.device.to_device(self.ctf[chosen]),
                self.device.to_device(noise_power),
                band,
                self.pixel_size_angst,
            )

        batch_size = self.config.compute.batch_size or DEFAULT_BATCH_SIZE
        own = (self.half == half) & (True if part is None else self.part == part)
        rows = self.rows[own]
        for some, data in fitting_batches(self.source, rows, batch_size, self.device, whitened):
            yield np.searchsorted(self.rows, some), data


def diameter_angst(config: Any, box_size_px: int, pixel_size_angst: float) -> float:
    """Return the diameter of the particle: the given one, or nine tenths of the box."""
    return config.mask.particle_diameter_angst or (
        _SHARE_OF_THE_BOX * box_size_px * pixel_size_angst
    )


def make_task(config: Any, table: Any, source: Any, device: Any, comm: Any) -> Task:
    """Return the task of this rank."""
    table = table.with_half_sets()
    rows = rows_of_rank(len(table), comm.rank, comm.size)
    group = noise_groups(table, config.reconstruction.noise_by_group)
    operators = symmetry_operators(config.reference.symmetry)
    box, pixel_size = int(source.box_size_px), float(source.pixel_size_angst)
    return Task(
        config=config,
        table=table,
        source=source,
        device=device,
        comm=comm,
        rows=rows,
        ids=np.asarray(table.image_ids)[rows],
        half=np.asarray(table.half_sets())[rows],
        part=_parts(np.asarray(table.half_sets()), config.reconstruction.parts_of_half(box))[rows],
        group=group[rows],
        n_groups=int(group.max()) + 1,
        ctf=table.ctf(rows),
        operators=operators,
        limits=limits(
            config,
            box_size_px=box,
            pixel_size_angst=pixel_size,
            diameter_angst=diameter_angst(config, box, pixel_size),
            order=len(operators),
        ),
    )


def _parts(half: np.ndarray, n_parts: int) -> np.ndarray:
    """Return the part of its half that each particle of the whole set belongs to, in turn."""
    part = np.zeros(len(half), np.int64)
    for number in (0, 1):
        members = np.flatnonzero(half == number)
        part[members] = np.arange(len(members)) % n_parts
    return part


def noise_groups(table: Any, by_group: bool) -> np.ndarray:
    """Return the noise group of every particle, numbered from 0 without gaps, (n,) int64."""
    for name in (labels.GROUP_NUMBER, labels.OPTICS_GROUP):
        if by_group and name in table.particles:
            _, numbers = np.unique(table.particles[name].to_numpy(), return_inverse=True)
            return numbers.astype(np.int64)
    return np.zeros(len(table), np.int64)
