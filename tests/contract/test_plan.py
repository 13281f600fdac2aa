# SPDX-License-Identifier: GPL-3.0-or-later
"""The forecast grows with what it must grow with and keeps to its limits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cryoralib_plugin.contract.align2d import (
    MultireferenceConfig,
    MultireferenceSearch,
    ReferenceFreeConfig,
)
from cryoralib_plugin.contract.plan import GIB, SMALLEST_BATCH, forecast, workload_of
from cryoralib_plugin.geometry.rings import RingLayout

CONFIG = MultireferenceConfig(
    search=MultireferenceSearch(outer_radius_px=36, shift_range_px="3", n_classes=20)
)
WORK = workload_of(CONFIG, n_particles=50_000, image_box_px=90, threads=2)


def test_sizes_are_those_of_the_search():
    rings = RingLayout.from_radii(1, 36, 1)
    assert WORK.ring_lengths == rings.lengths.tolist()
    assert WORK.n_shifts == 49
    schedule = workload_of(ReferenceFreeConfig(), n_particles=10, image_box_px=90)
    assert (schedule.n_shifts, schedule.n_classes) == (81, 1)


def test_cached_images_are_counted_to_the_byte():
    plan = forecast(WORK)
    assert plan.parts["cached images"] == 50_000 * 90 * 90 * np.float32().nbytes
    halved = forecast(replace(WORK, n_ranks=2))
    assert halved.parts["cached images"] * 2 == plan.parts["cached images"]
    assert plan.host_bytes == sum(plan.parts.values())


@pytest.mark.parametrize(
    "field, more",
    [
        ("n_particles", 100_000),
        ("n_classes", 60),
        ("box_size_px", 128),
        ("outer_radius_px", 40),
        ("n_shifts", 81),
    ],
)
def test_more_work_takes_more_time_and_no_less_memory(field, more):
    before, after = forecast(WORK), forecast(replace(WORK, **{field: more}))
    assert after.seconds_per_iteration > before.seconds_per_iteration
    assert after.host_bytes > 0.99 * before.host_bytes


def test_ranks_and_threads_share_the_time():
    alone = forecast(WORK).seconds_per_iteration
    assert forecast(replace(WORK, n_ranks=2)).seconds_per_iteration == pytest.approx(alone / 2)
    assert forecast(replace(WORK, threads=4)).seconds_per_iteration == pytest.approx(alone / 2)


def test_a_limit_is_kept_by_a_smaller_cache():
    free = forecast(WORK)
    plan = forecast(replace(WORK, memory_bytes=GIB))
    assert 0 < plan.cache_bytes < free.cache_bytes == 50_000 * 90 * 90 * 4
    assert plan.host_bytes <= GIB
    assert plan.seconds_per_iteration > free.seconds_per_iteration
    assert forecast(replace(WORK, memory_bytes=8 * GIB)).cache_bytes == free.cache_bytes


def test_sets_beyond_32_bits_are_counted_to_the_byte():
    n, box = 20_000_000, 512
    work = replace(WORK, n_particles=n, image_box_px=box, box_size_px=box, n_classes=3000)
    pixels = n * box * box
    assert pixels > 2**42
    assert forecast(work).parts["cached images"] == 4 * pixels
    twice = forecast(replace(work, n_particles=2 * n))
    assert twice.parts["cached images"] == 8 * pixels
    # Of classes alone: 3000 sums of two halves in 64 bits pass 2^32 bytes thrice over.
    alone = forecast(replace(work, cache="none"))
    assert 3000 * box * box * 2 * 8 > 2**33
    assert alone.parts["class averages"] >= 3000 * box * box * 3 * 4
    fewer = forecast(replace(work, cache="none", n_classes=1500))
    assert alone.parts["class averages"] == 2 * fewer.parts["class averages"] > 2**33


def test_a_stage_that_takes_more_decides():
    classes = forecast(replace(WORK, n_classes=5000, cache="none"))
    particles = forecast(replace(WORK, n_particles=5_000_000, cache="none"))
    assert max(classes.parts, key=classes.parts.get) == "class averages"
    assert max(particles.parts, key=particles.parts.get) == "particle table"


def test_without_a_cache_images_are_read_in_every_iteration():
    kept, again = forecast(WORK), forecast(replace(WORK, cache="none"))
    assert again.cache_bytes == 0
    assert again.seconds_per_iteration > kept.seconds_per_iteration


def test_a_chosen_batch_is_kept_and_no_limit_gives_an_empty_one():
    assert forecast(replace(WORK, batch_size=7)).batch_size == 7
    assert forecast(replace(WORK, memory_bytes=1)).batch_size == SMALLEST_BATCH


def test_a_gpu_batch_fits_the_gpu():
    work = replace(WORK, backend="cuda", device_bytes=16 * GIB)
    plan = forecast(work)
    assert 0 < plan.device_bytes <= 16 * GIB
    assert plan.seconds_per_iteration < forecast(WORK).seconds_per_iteration
    smaller = forecast(replace(work, device_bytes=GIB))
    assert smaller.batch_size < plan.batch_size


def test_the_plan_speaks():
    words = forecast(WORK).in_words
    assert "GiB of memory per rank" in words and "per iteration" in words
    assert "on its GPU" in forecast(replace(WORK, backend="cuda")).in_words
