# SPDX-License-Identifier: GPL-3.0-or-later
"""Host memory of a 2D run at each of its stages: arithmetic on the sizes of what is held then.

The constants are sizes of arrays, named with what they stand for; benchmarks/memory.py compares the
whole with runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Dict, List

if TYPE_CHECKING:
    from .plan import Workload

FLOAT32 = 4

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

FREED_BYTES = 2**26
"""Freed memory that the C library keeps for itself: the trim threshold glibc ends up with."""


def stages(work: Workload, batch: int, cache: int) -> List[Dict[str, int]]:
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
    kept = {"cached images": cache, **always_held(work)}
    references = work.n_classes * reference_samples(work) * REFERENCE_WORK_BYTES_PER_SAMPLE
    written = min(work.n_particles, WRITE_ROWS) * WRITE_BYTES_PER_ROW
    return [
        {"particle table": work.n_particles * READ_BYTES_PER_PARTICLE},
        {**kept, "class averages": state, "references": references},
        {**kept, **_first_pass(work, batch)},
        {**kept, **matching_stage(work, batch, cache)},
        {**kept, "class averages": state + totals * sums},
        {
            **kept,
            "class averages": 2 * state + sums,
            "averaging": together * AVERAGING_BYTES_PER_PIXEL,
        },
        {**kept, "class averages": (2 + messages) * state, "writing": written},
    ]


def always_held(work: Workload) -> Dict[str, int]:
    """What a rank holds from the first pass to the end, in bytes."""
    rows = TABLE_BYTES_PER_PARTICLE + RESULT_BYTES_PER_PARTICLE
    return {"particle table": work.n_particles * rows, "freed memory": FREED_BYTES}


def _first_pass(work: Workload, batch: int) -> Dict[str, int]:
    """What the pass over all images takes that makes the first references, in bytes."""
    return {
        "class averages": _sum_bytes(work),
        "reading": PREPARE_BYTES * PREPARE_COPIES,
        "batches": batch * bytes_per_image_in_batch(work),
    }


def matching_stage(work: Workload, batch: int, cache: int) -> Dict[str, int]:
    """What matching takes beside the particle table and the cache, in bytes."""
    is_kept = work.cache == "disk" or cache >= work.n_local * work.image_bytes
    reads = work.given_references or not is_kept
    state = work.n_classes * work.box_size_px**2 * STATE_BYTES_PER_PIXEL
    return {
        "class averages": state + _sum_bytes(work) * (2 if work.reassigns else 1),
        "references": work.n_classes * reference_samples(work) * REFERENCE_BYTES_PER_SAMPLE,
        "scores": work.n_local * work.n_classes * SCORE_BYTES if work.balanced else 0,
        "matching": _matching_bytes(work) + (CTF_WORK_BYTES if work.with_ctf else 0),
        "reading": PREPARE_BYTES * PREPARE_COPIES if reads else 0,
        "batches": batch * bytes_per_image_in_batch(work),
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


def bytes_per_image_in_batch(work: Workload) -> int:
    copies = BATCHES_IN_FLIGHT + (1 if work.normalises else 0)
    return copies * work.image_bytes + work.n_classes * FLOAT32


def reference_samples(work: Workload) -> int:
    """Samples of one reference, counted as if all rings were as long as the longest."""
    return len(work.ring_lengths) * work.ring_lengths[-1]
