# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run works on: its particles, its ranks and sizes that do not change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Iterator, Optional, Tuple

import numpy as np

from cryoralib_plugin.arrays import device_of, namespace_of
from cryoralib_plugin.contract._param import ConfigError
from cryoralib_plugin.contract.plan import processor_batch
from cryoralib_plugin.contract.schedule import outer_radius
from cryoralib_plugin.fourier.filters import apply_filter
from cryoralib_plugin.fourier.masks import circular_mask
from cryoralib_plugin.geometry.rigid2d import Poses2D
from cryoralib_plugin.optics.ctf import CtfParameters, ctf_2d
from cryoralib_plugin.parallel.partition import rows_of_rank
from cryoralib_plugin.particles.batches import fitting_batches

# Particles, spread over the whole set and the same on every rank, that tell the mean CTF^2.
_CTF_SAMPLE = 200
# Pixels that are normalised together: on the processor as many as its cache holds in double
# precision, on a GPU as many as keep it busy without taking much of its room.
_NORMALISED_PIXELS = {"cpu": 2**18, "cuda": 2**22}


@dataclass(frozen=True)
class Task:
    """Particles and tools of one rank.

    Attributes
    ----------
    rows : (n_rows,) int64, rows of the particle table that belong to this rank.
    half : (n_rows,) int8, half set 0 or 1.
    ctf : optics of the same particles where CTF^2 is summed, else None.
    class_numbers : (n_classes,) int64, the rlnClassNumber of each class.
    candidates : (n_rows, 2) int64, half-open range of classes a particle may choose from, empty
        for a particle that takes no part; None where all are free to choose any.
    """

    config: Any
    table: Any
    source: Any
    device: Any
    comm: Any
    rows: np.ndarray
    half: np.ndarray
    ctf: Optional[CtfParameters]
    class_numbers: np.ndarray
    candidates: Optional[np.ndarray]
    outer_radius_px: int

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return len(self.class_numbers)

    @property
    def box_size_px(self) -> int:
        """Side of the images."""
        return int(self.source.box_size_px)

    @property
    def pixel_size_angst(self) -> float:
        """Pixel size of the images."""
        return float(self.source.pixel_size_angst)

    def first_poses(self) -> Poses2D:
        """Return the poses this rank's particles start from: none, or those of the table."""
        if self.config.search.start_from_alignment:
            return self.table.poses(self.rows)
        return Poses2D.identity(len(self.rows))

    def shown_by_particles(self, averages: np.ndarray) -> np.ndarray:
        """Return averages (n_classes, N, N) with the amplitudes that particles have, float32.

        Averages divided by the summed CTF^2 show the object itself: their low frequencies, which
        a particle hardly shows, would rule the comparison. The root of the mean CTF^2 of all
        particles gives them back the amplitudes of a phase-flipped particle.
        """
        if self.ctf is None:
            return averages
        rows = np.unique(np.linspace(0, len(self.table) - 1, _CTF_SAMPLE).astype(np.int64))
        transfer = ctf_2d(self.table.ctf(rows), self.box_size_px, self.pixel_size_angst)
        return apply_filter(averages, np.sqrt((transfer**2).mean(axis=0))).astype(np.float32)

    def batches(self, chosen: np.ndarray) -> Iterator[Tuple[np.ndarray, Any]]:
        """Yield (indices, images) of some of this rank's particles, unusable ones left out.

        Parameters
        ----------
        chosen : (m,) integers, ascending indices into `rows`.

        Yields
        ------
        indices : (n,) int64, indices into `rows`.
        images : (n, N, N) float32 on the device.
        """

        def normalised(rows: np.ndarray, images: Any) -> Any:
            if self.config.averages.normalise_in_mask:
                return normalised_in_disk(images, self.outer_radius_px)
            return images

        batch_size = self.config.compute.batch_size or processor_batch(4 * self.box_size_px**2)
        for rows, images in fitting_batches(
            self.source, self.rows[chosen], batch_size, self.device, normalised
        ):
            yield np.searchsorted(self.rows, rows), images


def make_task(
    config: Any, table: Any, source: Any, device: Any, comm: Any, n_references: int
) -> Task:
    """Return the task of this rank.

    Parameters
    ----------
    n_references : number of initial references; 0 where none are given.

    Raises
    ------
    ConfigError
        If there are too few particles for the classes, or none.
    """
    rows = rows_of_rank(len(table), comm.rank, comm.size)
    class_numbers = class_numbers_of(config, table, n_references)
    candidates = None
    if _keeps_classes(config):
        numbers = np.asarray(table.class_numbers)[rows]
        first = np.searchsorted(class_numbers, numbers)
        candidates = np.stack([first, first + (numbers > 0)], axis=1)
    # Decided once, and warned of once, where the file's halves cannot be kept.
    table = table.with_half_sets()
    return Task(
        config=config,
        table=table,
        source=source,
        device=device,
        comm=comm,
        rows=rows,
        half=np.asarray(table.half_sets())[rows],
        ctf=table.ctf(rows) if config.ctf.ctf_correction == "wiener" else None,
        class_numbers=class_numbers,
        candidates=candidates,
        outer_radius_px=outer_radius(config.search, source.box_size_px),
    )


def class_numbers_of(config: Any, table: Any, n_references: int) -> np.ndarray:
    """Return the (n_classes,) int64 rlnClassNumber of each class of a run.

    Parameters
    ----------
    n_references : number of initial references; 0 where none are given.

    Raises
    ------
    ConfigError
        If there are too few particles for the classes, or none.
    """
    if not len(table):
        raise ConfigError("there are no particles to align: the particle file has no rows")
    if _keeps_classes(config):
        numbers = np.asarray(table.class_numbers)
        given = np.unique(numbers[numbers > 0])
        if not len(given):
            raise ConfigError(
                "within_classes asks for an alignment inside each class, but no particle has a "
                "class (rlnClassNumber above 0): classify the particles first, or switch it off"
            )
        return given
    if config.program == "rfa":
        return np.array([1])
    n_classes = n_references or config.search.n_classes
    needed = n_classes * config.averages.minimum_class_size
    if len(table) < needed:
        what, less = (
            (f"references_file ({n_references} references)", "give fewer references")
            if n_references
            else (f"n_classes ({n_classes})", "lower n_classes")
        )
        raise ConfigError(
            f"{what} with at least {config.averages.minimum_class_size} members each needs "
            f"{needed} particles, but there are {len(table)}: {less} or lower minimum_class_size"
        )
    return np.arange(1, n_classes + 1)


def _keeps_classes(config: Any) -> bool:
    """Whether every particle stays in the class it has."""
    return bool(getattr(config.files, "within_classes", False))


def normalised_in_disk(images: Any, radius_px: float) -> Any:
    """Return images (n, N, N) with mean 0 and standard deviation 1 inside a disk, float32.

    All pixels are changed; the disk only defines the statistics (SPARX ``normalize.mask``).
    """
    xp = namespace_of(images)
    inside = xp.nonzero(circular_mask(images.shape[-1], radius_px, xp=xp).ravel() > 0)[0]
    normalised = xp.empty(images.shape, xp.float32)
    step = max(1, _NORMALISED_PIXELS[device_of(images=images)] // images.shape[-1] ** 2)
    for first in range(0, len(images), step):
        some = images[first : first + step]
        values = some.reshape(len(some), -1)[:, inside].astype(xp.float64)
        mean = values.mean(axis=1)
        values -= mean[:, None]
        deviation = xp.sqrt((values * values).mean(axis=1))
        deviation = xp.where(deviation > 0, deviation, 1.0)
        normalised[first : first + step] = (some - mean[:, None, None]) / deviation[:, None, None]
    return normalised
