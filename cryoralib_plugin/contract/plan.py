# SPDX-License-Identifier: GPL-3.0-or-later
"""Memory and time of a 2D run from its sizes, before anything is read: arithmetic only.

The form warns with it, the command line chooses the batch with it. The constants were measured
(benchmarks/memory.py); what a constant stands for is said beside it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Optional

from .memory_stages import (
    FLOAT32,
    always_held,
    bytes_per_image_in_batch,
    matching_stage,
    reference_samples,
    stages,
)
from .presets import apply_preset
from .schedule import outer_radius, shift_stages

GIB = 2**30

DEVICE_MATCH_BYTES_PER_SAMPLE = 12
"""Samples, spectrum and work space of one ring sample at one shift, for each image on a GPU."""

DEVICE_CLASS_IMAGES = 10
"""Images of 4 bytes alive on a GPU for each class: sums of two halves in 64 bits, averages."""

DEVICE_REFERENCE_BYTES_PER_SAMPLE = 16
"""Spectra, tables and intermediates of one sample of a reference on a GPU."""

DEVICE_BATCHES = 4
"""Batches on a GPU: as they came, normalised, and two of the pool that is not given back."""

CPU_BATCH_BYTES = 32 * 2**20
"""Prepared images of one batch on the processor; more gains nothing."""

SMALLEST_BATCH, LARGEST_BATCH = 16, 8192

MEMORY_SHARE = 0.8
"""Part of a machine's free memory that its ranks plan with."""

CACHE_SHARE = 0.5
"""Most of a rank's memory that prepared images may fill."""

DEVICE_SHARE = 0.8
"""Part of a GPU's free memory that one run plans with."""

CPU_SECONDS_PER_SAMPLE = 5.0e-9
"""Resampling, normalising and transforming one ring sample at one shift, on one thread."""

CPU_SECONDS_PER_PRODUCT = 2.2e-10
"""One ring and harmonic of one reference at one shift (both hands), on one thread."""

CPU_SECONDS_PER_PIXEL = 5.0e-8
"""Rotating one pixel and adding it to its class, on one thread."""

READ_SECONDS_PER_PIXEL = 2.0e-8
"""Reading and preparing one pixel of an image on disk, on one thread."""

GPU_SPEED = 100.0
"""Threads that one GPU is worth."""


@dataclass(frozen=True)
class Workload:
    """Sizes that decide how much memory and time an iteration takes.

    `image_box_px` is the box on disk, `box_size_px` the one that is aligned. `n_shifts` is that
    of the widest stage. `balanced` stands for iterations that keep the scores with all classes,
    `reassigns` for any that move particles to other classes than their best, `normalises` for
    images that are normalised once more for matching, `given_references` for a start without a
    pass over the images. `backend` is "cpu" or "cuda".
    `memory_bytes` is what one rank may take on its machine, `device_bytes` what is free on its
    GPU; 0 where no limit is known.
    """

    n_particles: int
    image_box_px: int
    box_size_px: int
    n_classes: int
    inner_radius_px: int
    outer_radius_px: int
    ring_step_px: int
    n_shifts: int
    with_ctf: bool = False
    balanced: bool = False
    reassigns: bool = False
    normalises: bool = False
    given_references: bool = False
    cache: str = "memory"
    n_ranks: int = 1
    threads: int = 1
    backend: str = "cpu"
    batch_size: int = 0
    memory_bytes: int = 0
    device_bytes: int = 0

    @property
    def ring_lengths(self) -> List[int]:
        """Samples on each ring; see geometry.rings."""
        radii = range(self.inner_radius_px, self.outer_radius_px + 1, self.ring_step_px)
        return [1 << math.floor(2.0 * math.pi * radius + 0.5).bit_length() for radius in radii]

    @property
    def image_bytes(self) -> int:
        """One prepared image."""
        return self.box_size_px**2 * FLOAT32

    @property
    def n_local(self) -> int:
        """Particles of the rank that has most."""
        return max(1, -(-self.n_particles // self.n_ranks))


@dataclass(frozen=True)
class MemoryPlan:
    """What one rank takes above the empty program, and how long an iteration lasts.

    `parts` names the shares of `host_bytes` at the moment when most is taken. `cache_bytes` is
    the room for prepared images in memory; what does not fit within the limit is read again in
    every iteration.
    """

    host_bytes: int
    device_bytes: int
    batch_size: int
    cache_bytes: int
    seconds_per_iteration: float
    parts: Mapping[str, int]

    @property
    def in_words(self) -> str:
        """One sentence for a form or a log."""
        text = f"{self.host_bytes / GIB:.1f} GiB of memory per rank"
        if self.device_bytes:
            text += f", {self.device_bytes / GIB:.1f} GiB on its GPU"
        return f"{text}, about {_duration(self.seconds_per_iteration)} per iteration"


def workload_of(
    config: Any,
    *,
    n_particles: int,
    image_box_px: int,
    n_classes: Optional[int] = None,
    **machine: Any,
) -> Workload:
    """The sizes of an MRA or RFA run.

    Parameters
    ----------
    config
        MultireferenceConfig or ReferenceFreeConfig.
    n_particles, image_box_px
        Of the particles on disk.
    n_classes
        Where references or classes are given; the config's number otherwise.
    machine
        n_ranks, threads, backend, memory_bytes, device_bytes of `Workload`.
    """
    config = apply_preset(config)
    box = config.preprocess.downsample_box_px or image_box_px
    search, compute = config.search, config.compute
    n_shifts = max(
        (2 * int(stage.range_x_px / stage.step_px + 1e-6) + 1)
        * (2 * int(stage.range_y_px / stage.step_px + 1e-6) + 1)
        for stage in shift_stages(search)
    )
    several = config.program == "mra" and search.n_iterations > 1
    given = bool(getattr(config.files, "references_file", ""))
    sizes: Dict[str, Any] = {
        "memory_bytes": int(compute.memory_gib * GIB),
        "threads": max(1, compute.threads),
        **machine,
    }
    return Workload(
        n_particles=n_particles,
        image_box_px=image_box_px,
        box_size_px=box,
        n_classes=n_classes or int(getattr(search, "n_classes", 1)),
        inner_radius_px=search.inner_radius_px,
        outer_radius_px=outer_radius(search, box),
        ring_step_px=search.ring_step_px,
        n_shifts=n_shifts,
        with_ctf=config.ctf.ctf_correction == "wiener",
        balanced=several and not given and search.balanced_iterations > 0,
        reassigns=several,
        normalises=config.averages.normalise_in_mask,
        given_references=given,
        cache=config.preprocess.cache,
        batch_size=compute.batch_size,
        **sizes,
    )


def forecast(work: Workload) -> MemoryPlan:
    """The memory plan of one rank and the time of one iteration."""
    batch = work.batch_size or _batch_size(work)
    cache = 0
    if work.cache == "memory":
        cache = work.n_local * work.image_bytes
        if work.memory_bytes:
            cache = min(cache, int(CACHE_SHARE * work.memory_bytes))
    parts = max(stages(work, batch, cache), key=lambda stage: sum(stage.values()))
    device = 0
    if work.backend == "cuda":
        device = _device_fixed(work) + batch * _device_bytes_per_image(work)
    return MemoryPlan(
        host_bytes=sum(parts.values()),
        device_bytes=device,
        batch_size=batch,
        cache_bytes=cache,
        seconds_per_iteration=_seconds(work, cache),
        parts=parts,
    )


def processor_batch(image_bytes: int) -> int:
    """Return how many prepared images the processor works on together where memory allows."""
    return max(SMALLEST_BATCH, CPU_BATCH_BYTES // image_bytes)


def _batch_size(work: Workload) -> int:
    """Images worked on together: enough to keep threads or GPU busy, within the memory."""
    wanted = processor_batch(work.image_bytes)
    if work.backend == "cuda":
        wanted = LARGEST_BATCH
        if work.device_bytes:
            usable = DEVICE_SHARE * work.device_bytes - _device_fixed(work)
            wanted = int(usable // _device_bytes_per_image(work))
    if work.memory_bytes:
        share = CACHE_SHARE if work.cache == "memory" else 0.0
        taken = {**always_held(work), **matching_stage(work, 0, 0)}
        room = int((1.0 - share) * work.memory_bytes) - sum(taken.values())
        wanted = min(wanted, room // bytes_per_image_in_batch(work))
    return max(SMALLEST_BATCH, min(wanted, LARGEST_BATCH))


def _device_fixed(work: Workload) -> int:
    references = reference_samples(work) * DEVICE_REFERENCE_BYTES_PER_SAMPLE
    return work.n_classes * (work.image_bytes * DEVICE_CLASS_IMAGES + references)


def _device_bytes_per_image(work: Workload) -> int:
    """Ring samples of one image at all shifts, its pixels and its peak heights."""
    rings = work.n_shifts * sum(work.ring_lengths) * DEVICE_MATCH_BYTES_PER_SAMPLE
    heights = work.n_shifts * work.n_classes * 2 * FLOAT32
    return rings + heights + DEVICE_BATCHES * work.image_bytes


def _seconds(work: Workload, cache_bytes: int) -> float:
    """Time of one iteration: the rank with most particles, its threads all at work."""
    kept = cache_bytes / (work.n_local * work.image_bytes)
    lengths = work.ring_lengths
    samples = work.n_shifts * sum(lengths) * CPU_SECONDS_PER_SAMPLE
    # Half the angles are harmonics, and about half of those lie above the references' cut-off.
    products = work.n_shifts * work.n_classes * len(lengths) * lengths[-1] / 4
    matching = samples + products * CPU_SECONDS_PER_PRODUCT
    averaging = work.box_size_px**2 * CPU_SECONDS_PER_PIXEL
    workers = GPU_SPEED if work.backend == "cuda" else work.threads
    reading = 0.0
    if work.cache != "disk":
        reading = (1.0 - kept) * work.image_box_px**2 * READ_SECONDS_PER_PIXEL
    return work.n_local * ((matching + averaging) / workers + reading / work.threads)


def _duration(seconds: float) -> str:
    """A time as people say it."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"
