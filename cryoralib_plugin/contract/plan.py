# SPDX-License-Identifier: GPL-3.0-or-later
"""Memory and time of a 2D run from its sizes, before anything is read: arithmetic only.

The form warns with it, the command line chooses the batch with it. The constants were measured
(benchmarks/memory.py); what a constant stands for is said beside it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Optional

from .schedule import outer_radius, shift_stages

GIB = 2**30

FLOAT32, FLOAT64 = 4, 8

TABLE_BYTES_PER_PARTICLE = 700
"""A row of RELION columns, names as text included; every rank holds all rows."""

STAR_BYTES_PER_PARTICLE = 900
"""What writing or reading a row as text takes on top, on the root."""

RESULT_BYTES_PER_PARTICLE = 200
"""Class, pose, score and the copies made while ranks exchange them."""

PREPARE_BYTES = 2 * 8 * 2**20
"""Raw images that the two reading threads prepare at a time (particles.source)."""

PREPARE_COPIES = 4
"""Arrays of that size alive meanwhile: as stored, as float32, spectrum, background, result."""

BATCHES_IN_FLIGHT = 4
"""Prepared batches alive: the one in use and those that the threads are ahead."""

WORK_COPIES = 2
"""Arrays of the size of a batch alive while it is worked on: normalised, rotated."""

CLASS_IMAGES = 10
"""Images of 4 bytes alive for each class: sums of two halves in 64 bits and their total over
ranks, averages and half averages of this and the next iteration, what is being written."""

CTF_CLASS_IMAGES = 8
"""The same for the summed squared CTF of two halves."""

REFERENCE_BYTES_PER_SAMPLE = 16
"""Spectra, tables and intermediates of one ring sample (longest ring) of a reference."""

MATCH_BYTES_PER_SAMPLE = 12
"""Work space of one ring sample at one shift, on each thread (or, on a GPU, for each image)."""

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
    of the widest stage. `backend` is "cpu" or "cuda". `memory_bytes` is what one rank may take on
    its machine, `device_bytes` what is free on its GPU; 0 where no limit is known.
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
    def n_local(self) -> int:
        """Particles of the rank that has most."""
        return max(1, -(-self.n_particles // self.n_ranks))


@dataclass(frozen=True)
class MemoryPlan:
    """What one rank takes above the empty program, and how long an iteration lasts.

    `parts` names the shares of `host_bytes`. `cache_bytes` is the room for prepared images in
    memory; what does not fit within the limit is read again in every iteration.
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
    box = config.preprocess.downsample_box_px or image_box_px
    search, compute = config.search, config.compute
    n_shifts = max(
        (2 * int(stage.range_x_px / stage.step_px + 1e-6) + 1)
        * (2 * int(stage.range_y_px / stage.step_px + 1e-6) + 1)
        for stage in shift_stages(search)
    )
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
        cache=config.preprocess.cache,
        batch_size=compute.batch_size,
        **sizes,
    )


def forecast(work: Workload) -> MemoryPlan:
    """The memory plan of one rank and the time of one iteration."""
    parts = _fixed_parts(work)
    batch = work.batch_size or _batch_size(work, _room(work) - sum(parts.values()))
    parts["batches"] = batch * _bytes_per_image_in_batch(work)
    cache = 0
    if work.cache == "memory":
        cache = work.n_local * work.box_size_px**2 * FLOAT32
        if work.memory_bytes:
            cache = min(cache, int(CACHE_SHARE * work.memory_bytes))
    parts["cached images"] = cache
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


def _room(work: Workload) -> int:
    """Memory that the cache leaves to everything else."""
    share = CACHE_SHARE if work.cache == "memory" else 0.0
    return int((1.0 - share) * work.memory_bytes)


def _fixed_parts(work: Workload) -> Dict[str, int]:
    """Host memory that does not depend on the batch, in bytes."""
    rows = TABLE_BYTES_PER_PARTICLE + STAR_BYTES_PER_PARTICLE + RESULT_BYTES_PER_PARTICLE
    image = work.box_size_px**2 * FLOAT32
    per_class = CLASS_IMAGES + (CTF_CLASS_IMAGES if work.with_ctf else 0)
    match = 0
    if work.backend == "cpu":
        match = work.threads * work.n_shifts * sum(work.ring_lengths) * MATCH_BYTES_PER_SAMPLE
    return {
        "particle table": work.n_particles * rows,
        "class averages": work.n_classes * image * per_class,
        "references": work.n_classes * _reference_bytes(work),
        "matching": match,
        "reading": PREPARE_BYTES * PREPARE_COPIES,
    }


def _bytes_per_image_in_batch(work: Workload) -> int:
    prepared = work.box_size_px**2 * FLOAT32
    scores = work.n_classes * FLOAT32
    return (BATCHES_IN_FLIGHT + WORK_COPIES) * prepared + scores


def _batch_size(work: Workload, room: int) -> int:
    """Images worked on together: enough to keep threads or GPU busy, within the memory."""
    wanted = CPU_BATCH_BYTES // (work.box_size_px**2 * FLOAT32)
    if work.backend == "cuda":
        wanted = LARGEST_BATCH
        if work.device_bytes:
            usable = DEVICE_SHARE * work.device_bytes - _device_fixed(work)
            wanted = int(usable // _device_bytes_per_image(work))
    if work.memory_bytes:
        wanted = min(wanted, room // _bytes_per_image_in_batch(work))
    return max(SMALLEST_BATCH, min(wanted, LARGEST_BATCH))


def _reference_bytes(work: Workload) -> int:
    lengths = work.ring_lengths
    return len(lengths) * lengths[-1] * REFERENCE_BYTES_PER_SAMPLE


def _device_fixed(work: Workload) -> int:
    image = work.box_size_px**2 * FLOAT32
    return work.n_classes * (image * CLASS_IMAGES + _reference_bytes(work))


def _device_bytes_per_image(work: Workload) -> int:
    """Ring samples of one image at all shifts, its pixels and its peak heights."""
    rings = work.n_shifts * sum(work.ring_lengths) * MATCH_BYTES_PER_SAMPLE
    heights = work.n_shifts * work.n_classes * 2 * FLOAT32
    return rings + heights + BATCHES_IN_FLIGHT * work.box_size_px**2 * FLOAT32


def _seconds(work: Workload, cache_bytes: int) -> float:
    """Time of one iteration: the rank with most particles, its threads all at work."""
    kept = cache_bytes / (work.n_local * work.box_size_px**2 * FLOAT32)
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
