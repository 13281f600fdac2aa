# SPDX-License-Identifier: GPL-3.0-or-later
"""Memory and time of a 2D run from its sizes, before anything is read: arithmetic only.

The form warns with it, the command line chooses the batch with it. The constants were measured
(benchmarks/memory.py); what a constant stands for is said beside it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Optional

from .presets import apply_preset
from .schedule import outer_radius, shift_stages

GIB = 2**30

FLOAT32, FLOAT64 = 4, 8

TABLE_BYTES_PER_PARTICLE = 500
"""A row of RELION columns, names as text included; every rank holds all rows."""

READ_BYTES_PER_PARTICLE = 1500
"""A row of a STAR file on the root while it is read, before any image: its text, thrice, its
values and names."""

WRITE_BYTES_PER_ROW, WRITE_ROWS = 900, 2**16
"""Words of one row and their list; so many rows are turned into text at a time (io.star)."""

RESULT_BYTES_PER_PARTICLE = 200
"""Class, pose and score (37 bytes): before, now, batch by batch and joined, gathered."""

PREPARE_BYTES = 2 * 8 * 2**20
"""Raw images that the two reading threads prepare at a time (particles.source)."""

PREPARE_COPIES = 4
"""Arrays of that size alive meanwhile: as stored, as float32, spectrum, background, result."""

BATCHES_IN_FLIGHT = 3
"""Prepared batches alive: the one in use and those that the threads are ahead."""

SUM_BYTES_PER_PIXEL = 2 * 8
"""Fixed-point sums of the two halves of a class (kernels.class_sums)."""

SCORE_BYTES = FLOAT32 + 1
"""The score of a particle with a class, and whether it is finite."""

CTF_WORK_BYTES = 2**26
"""Squared CTFs that are added together (kernels.class_sums)."""

STATE_BYTES_PER_PIXEL = 3 * FLOAT32
"""The average of a class and its two halves."""

AVERAGING_BYTES_PER_PIXEL, AVERAGING_PIXELS = 80, 2**19
"""Spectra and doubles of the two halves of so many pixels of averages (align2d.averages)."""

REFERENCE_BYTES_PER_SAMPLE = 10
"""Table (float64) and spectrum (float32, about half of it: short rings and filters cut the rest)
of one sample of a reference, counted as if all rings were as long as the longest."""

REFERENCE_WORK_BYTES_PER_SAMPLE = 25
"""The same while they are made: table, samples on rings, spectrum, its energy and its tail."""

MATCH_BYTES_PER_SAMPLE = 4
"""Spectrum of one ring sample at one shift, on each thread of the processor."""

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
    parts = max(_stages(work, batch, cache), key=lambda stage: sum(stage.values()))
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


def _stages(work: Workload, batch: int, cache: int) -> List[Dict[str, int]]:
    """What the root rank holds at each stage of a run, in bytes.

    It reads the particle file; an iteration then prepares its references, matches, adds up over
    ranks, averages, sends the averages to all ranks and writes. Each stage gives back what the
    next does not need.
    """
    pixels = work.n_classes * work.box_size_px**2
    sums, state = _sum_bytes(work), pixels * STATE_BYTES_PER_PIXEL
    together = min(pixels, max(AVERAGING_PIXELS, work.box_size_px**2))
    # Several ranks hold their own sums and the total; the averages travel as one message.
    totals, messages = (2, 1) if work.n_ranks > 1 else (1, 0)
    kept = {
        "cached images": cache,
        "particle table": work.n_particles * (TABLE_BYTES_PER_PARTICLE + RESULT_BYTES_PER_PARTICLE),
    }
    references = work.n_classes * _reference_samples(work) * REFERENCE_WORK_BYTES_PER_SAMPLE
    written = min(work.n_particles, WRITE_ROWS) * WRITE_BYTES_PER_ROW
    return [
        {"particle table": work.n_particles * READ_BYTES_PER_PARTICLE},
        {**kept, "class averages": state, "references": references},
        {**kept, **_first_pass(work, batch)},
        {**kept, **_matching_stage(work, batch, cache)},
        {**kept, "class averages": state + totals * sums},
        {
            **kept,
            "class averages": 2 * state + sums,
            "averaging": together * AVERAGING_BYTES_PER_PIXEL,
        },
        {**kept, "class averages": (2 + messages) * state, "writing": written},
    ]


def _first_pass(work: Workload, batch: int) -> Dict[str, int]:
    """What the pass over all images takes that makes the first references, in bytes."""
    return {
        "class averages": _sum_bytes(work),
        "reading": PREPARE_BYTES * PREPARE_COPIES,
        "batches": batch * _bytes_per_image_in_batch(work),
    }


def _matching_stage(work: Workload, batch: int, cache: int) -> Dict[str, int]:
    """What matching takes beside the particle table and the cache, in bytes."""
    is_kept = work.cache == "disk" or cache >= work.n_local * work.image_bytes
    reads = work.given_references or not is_kept
    state = work.n_classes * work.box_size_px**2 * STATE_BYTES_PER_PIXEL
    return {
        "class averages": state + _sum_bytes(work) * (2 if work.reassigns else 1),
        "references": work.n_classes * _reference_samples(work) * REFERENCE_BYTES_PER_SAMPLE,
        "scores": work.n_local * work.n_classes * SCORE_BYTES if work.balanced else 0,
        "matching": _matching_bytes(work) + (CTF_WORK_BYTES if work.with_ctf else 0),
        "reading": PREPARE_BYTES * PREPARE_COPIES if reads else 0,
        "batches": batch * _bytes_per_image_in_batch(work),
    }


def _sum_bytes(work: Workload) -> int:
    """The sums of all classes, of CTF^2 (half a plane) too where it is summed."""
    columns = work.box_size_px + (work.box_size_px // 2 + 1 if work.with_ctf else 0)
    return work.n_classes * work.box_size_px * columns * SUM_BYTES_PER_PIXEL


def _matching_bytes(work: Workload) -> int:
    """Work space of the threads: spectra of a particle and its peak heights."""
    if work.backend != "cpu":
        return 0
    spectra = sum(work.ring_lengths) * MATCH_BYTES_PER_SAMPLE
    heights = work.n_classes * 2 * FLOAT32
    return work.threads * work.n_shifts * (spectra + heights)


def _bytes_per_image_in_batch(work: Workload) -> int:
    copies = BATCHES_IN_FLIGHT + (1 if work.normalises else 0)
    return copies * work.image_bytes + work.n_classes * FLOAT32


def _batch_size(work: Workload) -> int:
    """Images worked on together: enough to keep threads or GPU busy, within the memory."""
    wanted = CPU_BATCH_BYTES // work.image_bytes
    if work.backend == "cuda":
        wanted = LARGEST_BATCH
        if work.device_bytes:
            usable = DEVICE_SHARE * work.device_bytes - _device_fixed(work)
            wanted = int(usable // _device_bytes_per_image(work))
    if work.memory_bytes:
        share = CACHE_SHARE if work.cache == "memory" else 0.0
        taken = work.n_particles * (TABLE_BYTES_PER_PARTICLE + RESULT_BYTES_PER_PARTICLE)
        taken += sum(_matching_stage(work, 0, 0).values())
        room = int((1.0 - share) * work.memory_bytes) - taken
        wanted = min(wanted, room // _bytes_per_image_in_batch(work))
    return max(SMALLEST_BATCH, min(wanted, LARGEST_BATCH))


def _reference_samples(work: Workload) -> int:
    """Samples of one reference, counted as if all rings were as long as the longest."""
    return len(work.ring_lengths) * work.ring_lengths[-1]


def _device_fixed(work: Workload) -> int:
    references = _reference_samples(work) * DEVICE_REFERENCE_BYTES_PER_SAMPLE
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
