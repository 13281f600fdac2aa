# SPDX-License-Identifier: GPL-3.0-or-later
"""Memory and time of a 3D run from its sizes, before anything is read: arithmetic only.

Sizes of arrays are counted; times are crude, within a factor of two or three.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Dict, List

from .memory_stages import (
    BATCHES_IN_FLIGHT,
    FLOAT32,
    FREED_BYTES,
    PREPARE_BYTES,
    PREPARE_COPIES,
    READ_BYTES_PER_PARTICLE,
    TABLE_BYTES_PER_PARTICLE,
    WRITE_BYTES_PER_ROW,
    WRITE_ROWS,
)
from .plan import CACHE_SHARE, DEVICE_SHARE, GIB, GPU_SPEED, READ_SECONDS_PER_PIXEL, MemoryPlan
from .symmetry import order_of

SUM_BYTES_PER_VOXEL = 24
"""Fixed-point sums of complex data and of weights (kernels.backproject)."""

SPECTRUM_BYTES_PER_VOXEL = 8
"""Spectrum of a reference, complex64."""

SOLVE_BYTES_PER_VOXEL = 64
"""Sums as floats, weights, shells and the padded map while one map is made of its sums."""

MAP_COPIES = 7
"""Maps of float32 for each class: references and unfiltered halves, merged map, mask, one spare.
Maps without the particles of a part come on top."""

FILTER_BYTES = 2 * 8
"""A term of a matched filter, while its parts are laid apart: for each image, shift and term."""

LOCAL_BYTES = 3 * 8
"""Terms of a particle that the search works with at once: spectrum, CTF, slices."""

CPU_FILTER_BYTES, GPU_FILTER_BYTES = 256 * 2**20, 4 * GIB
"""Matched filters of one batch; more gains nothing."""

SMALLEST_BATCH, LARGEST_BATCH = 16, 4096

RESULT_BYTES_PER_PARTICLE = 150
"""What a round says about a particle: this round, the one before, gathered."""

LARGEST_SCAN = 36000
"""Rotations of a scan times the order of the symmetry, at most: 7.5 degrees apart. Where the
cut-off asks for more, the scan is made at a coarser one."""

BEYOND_THE_SCAN = 1.3
"""What the cut-off that a scan's rotations fill is multiplied by: a peak may be stepped on at its
side, since many rotations are kept; what finer shells say of them weighs more."""

LOCAL_PHASES = 4
"""Phases of a particle in a local search, about."""

CLOSING_PHASES = 7
"""What closing in after a scan takes, in phases of a local search: its points are many."""

LOCAL_VIEWS, GLOBAL_VIEWS, FEWEST_VIEWS = 24, 125, 4
"""Rotations at which a particle enters a map in local and global rounds, mates among them; of each
mate at least the last."""

CPU_SECONDS_PER_SCANNED_TERM = 4e-11
"""One term of one rotation and shift in a scan, on one thread."""

CPU_SECONDS_PER_LOCAL_TERM = 8e-9
"""One term of one rotation in a phase of a local search, all shifts included, on one thread."""

CPU_SECONDS_PER_ENTERED_TERM = 6e-8
"""One term that enters a map at one rotation, on one thread."""

CPU_SECONDS_PER_VOXEL = 1.0e-6
"""One voxel of the padded grid while maps are made, filtered and compared, on one thread."""


@dataclass(frozen=True)
class Workload3D:
    """Sizes that decide how much memory and time a round takes.

    `image_box_px` is the box on disk, `box_size_px` that of the maps. `scan_cutoff_px` and
    `last_cutoff_px` are the radii of the comparison in the scan and at the end; `n_scan_rotations`
    lie within the asymmetric unit. `memory_bytes` and `device_bytes` are limits of one rank, 0
    where none is known.
    """

    n_particles: int
    image_box_px: int
    box_size_px: int
    n_classes: int
    padding: int
    order: int
    scan_cutoff_px: int
    last_cutoff_px: int
    n_scan_rotations: int
    n_scan_shifts: int
    n_local_rotations: int
    n_local_shifts: int
    n_local_defoci: int
    n_parts: int = 1
    cache: str = "memory"
    n_ranks: int = 1
    threads: int = 1
    backend: str = "cpu"
    batch_size: int = 0
    memory_bytes: int = 0
    device_bytes: int = 0

    @property
    def n_local(self) -> int:
        """Particles of the rank that has most."""
        return max(1, -(-self.n_particles // self.n_ranks))

    @property
    def image_bytes(self) -> int:
        """One prepared image."""
        return self.box_size_px**2 * FLOAT32

    @property
    def map_bytes(self) -> int:
        """One map of float32."""
        return self.box_size_px**3 * FLOAT32

    @property
    def grid_voxels(self) -> int:
        """Points of the padded half spectrum that maps are put together on."""
        extent = self.padding * (self.box_size_px // 2)
        return (2 * extent + 1) ** 2 * (extent + 1)

    @property
    def scan_terms(self) -> int:
        """Terms of an image that a scan compares."""
        return max(1, int(math.pi * self.scan_cutoff_px**2 / 2))

    @property
    def last_terms(self) -> int:
        """Terms of an image that the last rounds compare."""
        return max(1, int(math.pi * self.last_cutoff_px**2 / 2))

    @property
    def cloud_bytes(self) -> int:
        """The support points that one particle keeps."""
        numbers = 4 * self.n_local_rotations + 2 * self.n_local_shifts + self.n_local_defoci
        return self.n_classes * numbers * FLOAT32


def settling_resolution_angst(diameter_angst: float, order: int) -> float:
    """Detail that tells the rotations of an asymmetric unit apart: coarser detail does not.

    A quarter of the particle's radius over the cube root of the order of the symmetry (THUNDER).
    """
    return 0.125 * diameter_angst / order ** (1.0 / 3.0)


def workload3d_of(
    config: Any, *, n_particles: int, image_box_px: int, pixel_size_angst: float, **machine: Any
) -> Workload3D:
    """The sizes of a refinement.

    Parameters
    ----------
    config
        Refine3DConfig.
    n_particles, image_box_px, pixel_size_angst
        Of the particles on disk.
    machine
        n_ranks, threads, backend, memory_bytes, device_bytes of `Workload3D`.
    """
    box = config.preprocess.downsample_box_px or image_box_px
    side = image_box_px * pixel_size_angst
    order = order_of(config.reference.symmetry)
    stages, settings, compute = config.stages, config.filter, config.compute
    last = box // 2
    if stages.highest_resolution_angst:
        last = min(last, round(side / stages.highest_resolution_angst))
    diameter_angst = config.mask.particle_diameter_angst or 0.9 * side
    diameter_px = diameter_angst * box / side
    # Scans are made little beyond the cut-off that their largest number of rotations fills.
    densest = (LARGEST_SCAN / (8 * math.pi**2)) ** (1 / 3) * box / diameter_px
    # The cut-off at which the global stage ends (refine3d.schedule.limits).
    needed = min(stages.global_resolution_angst, settling_resolution_angst(diameter_angst, order))
    ends = (config.reference.initial_resolution_angst, needed)
    finest = min(last, max(round(side / angst) + 1 for angst in ends))
    filled = max(1, min(finest, int(densest)))
    scan = min(finest, round(BEYOND_THE_SCAN * filled))
    rotations = 8 * math.pi**2 / order * (diameter_px * filled / box) ** 3
    area_px2 = math.pi * (2.4477 * settings.shift_std_px) ** 2
    shifts = max(30, round(area_px2 * settings.shift_density * (scan / box) ** 2))
    sizes: Dict[str, Any] = {
        "memory_bytes": int(compute.memory_gib * GIB),
        "threads": max(1, compute.threads),
        **machine,
    }
    return Workload3D(
        n_particles=n_particles,
        image_box_px=image_box_px,
        box_size_px=box,
        n_classes=config.reference.n_classes,
        padding=config.reconstruction.padding_factor,
        order=order,
        scan_cutoff_px=scan if stages.global_search else 0,
        last_cutoff_px=last,
        n_scan_rotations=settings.n_scan_rotations or math.ceil(rotations),
        n_scan_shifts=shifts if settings.shift_std_px else 1,
        n_local_rotations=settings.n_local_rotations,
        n_local_shifts=settings.n_shifts_each,
        n_local_defoci=settings.n_local_defoci if stages.defocus_search else 1,
        n_parts=config.reconstruction.parts_of_half(box),
        cache=config.preprocess.cache,
        batch_size=compute.batch_size,
        **sizes,
    )


def forecast3d(work: Workload3D) -> MemoryPlan:
    """The memory plan of one rank and the time of one round."""
    batch = work.batch_size or _batch_size(work)
    cache = 0
    if work.cache == "memory":
        cache = work.n_local * work.image_bytes
        if work.memory_bytes:
            cache = min(cache, int(CACHE_SHARE * work.memory_bytes))
    parts = max(_stages(work, batch, cache), key=lambda stage: sum(stage.values()))
    on_gpu = work.backend == "cuda"
    return MemoryPlan(
        host_bytes=sum(parts.values()),
        device_bytes=_device_fixed(work) + batch * _bytes_per_image(work) if on_gpu else 0,
        batch_size=batch,
        cache_bytes=cache,
        seconds_per_iteration=_seconds(work, cache),
        parts=parts,
    )


def _stages(work: Workload3D, batch: int, cache: int) -> List[Dict[str, int]]:
    """What the root rank holds while it reads, compares, makes maps and writes, in bytes."""
    rows = TABLE_BYTES_PER_PARTICLE + RESULT_BYTES_PER_PARTICLE
    clouds = work.n_local * work.cloud_bytes
    left_out = 2 * work.n_parts if work.n_parts > 1 else 0
    maps = (MAP_COPIES + left_out) * work.n_classes * work.map_bytes
    sums = _sums_bytes(work)
    kept = {
        "cached images": cache,
        "particle table": work.n_particles * rows,
        "freed memory": FREED_BYTES,
        "maps": maps,
    }
    on_host = work.backend == "cpu"
    gathered = clouds if work.n_ranks == 1 else clouds + work.n_particles * work.cloud_bytes
    return [
        {"particle table": work.n_particles * READ_BYTES_PER_PARTICLE},
        {
            **kept,
            "support points": clouds,
            "sums of slices": sums if on_host else 0,
            "spectra of maps": _spectra_bytes(work) if on_host else 0,
            "batch": batch * _bytes_per_image(work) if on_host else 0,
            "reading": PREPARE_BYTES * PREPARE_COPIES
            + BATCHES_IN_FLIGHT * batch * work.image_bytes,
        },
        {
            **kept,
            "support points": clouds,
            # Several ranks hold their own sums and the total.
            "sums of slices": sums * (2 if work.n_ranks > 1 else 1),
            "reconstruction": work.grid_voxels * SOLVE_BYTES_PER_VOXEL,
        },
        {
            **kept,
            "support points": gathered,
            "writing": min(work.n_particles, WRITE_ROWS) * WRITE_BYTES_PER_ROW,
        },
    ]


def _spectra_bytes(work: Workload3D) -> int:
    """References of one half."""
    return work.n_classes * work.grid_voxels * SPECTRUM_BYTES_PER_VOXEL


def _bytes_per_image(work: Workload3D) -> int:
    """Matched filters of one image at all shifts, or what a local search works with."""
    scan = work.n_scan_shifts * work.scan_terms * FILTER_BYTES
    local = work.last_terms * LOCAL_BYTES * (2 + work.n_local_defoci)
    return max(scan, local)


def _batch_size(work: Workload3D) -> int:
    """Images worked on together: enough to keep threads or GPU busy, within the memory."""
    each = _bytes_per_image(work)
    wanted = CPU_FILTER_BYTES // each
    if work.backend == "cuda":
        wanted = GPU_FILTER_BYTES // each
        if work.device_bytes:
            room = DEVICE_SHARE * work.device_bytes - _device_fixed(work)
            wanted = min(wanted, int(room // each))
    elif work.memory_bytes:
        wanted = min(wanted, int((1.0 - CACHE_SHARE) * work.memory_bytes) // 4 // each)
    return max(SMALLEST_BATCH, min(wanted, LARGEST_BATCH))


def _device_fixed(work: Workload3D) -> int:
    return _sums_bytes(work) + _spectra_bytes(work)


def _sums_bytes(work: Workload3D) -> int:
    """Sums of every part of both halves."""
    return 2 * work.n_parts * work.n_classes * work.grid_voxels * SUM_BYTES_PER_VOXEL


def _seconds(work: Workload3D, cache_bytes: int) -> float:
    """Time of the longest kind of round: that with a scan, or the last."""
    kept = cache_bytes / (work.n_local * work.image_bytes)
    scan = work.n_scan_rotations * work.n_scan_shifts * work.scan_terms
    phase = work.n_local_rotations * work.n_local_defoci * CPU_SECONDS_PER_LOCAL_TERM
    entered = CPU_SECONDS_PER_ENTERED_TERM * work.last_terms
    local_views, global_views = (
        max(views, FEWEST_VIEWS * work.order) for views in (LOCAL_VIEWS, GLOBAL_VIEWS)
    )
    rounds = (
        work.n_classes
        * (
            scan * CPU_SECONDS_PER_SCANNED_TERM
            + (CLOSING_PHASES + LOCAL_PHASES) * phase * work.scan_terms
        )
        + entered * global_views,
        work.n_classes * LOCAL_PHASES * phase * work.last_terms + entered * local_views,
    )
    workers = GPU_SPEED if work.backend == "cuda" else work.threads
    reading = 0.0
    if work.cache != "disk":
        reading = (1.0 - kept) * work.image_box_px**2 * READ_SECONDS_PER_PIXEL
    maps = 2 * work.n_classes * work.grid_voxels * CPU_SECONDS_PER_VOXEL / work.threads
    return work.n_local * (max(rounds) / workers + reading / work.threads) + maps
