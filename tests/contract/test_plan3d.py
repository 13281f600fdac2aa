# SPDX-License-Identifier: GPL-3.0-or-later
"""The forecast of a 3D run grows with what it must grow with and keeps to its limits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cryoralib_plugin.contract._codec import from_flat
from cryoralib_plugin.contract.plan import GIB
from cryoralib_plugin.contract.plan3d import SMALLEST_BATCH, forecast3d, workload3d_of
from cryoralib_plugin.contract.refine3d import Refine3DConfig
from cryoralib_plugin.contract.symmetry import order_of
from cryoralib_plugin.geometry.symmetry import symmetry_operators
from cryoralib_plugin.refine3d.cloud import PoseCloud
from cryoralib_plugin.refine3d.global_search import make_scan_set
from cryoralib_plugin.refine3d.local_search import Search
from cryoralib_plugin.refine3d.schedule import limits


def work_of(n_particles=50_000, box=160, pixel_size=1.5, machine=None, **flat):
    config = from_flat(Refine3DConfig, {"particles_file": "a.star", **flat})
    return workload3d_of(
        config,
        n_particles=n_particles,
        image_box_px=box,
        pixel_size_angst=pixel_size,
        **{"threads": 2, **(machine or {})},
    )


WORK = work_of()


@pytest.mark.parametrize("name", ["C1", "C7", "D5", "T", "O", "I", "I3"])
def test_the_order_of_a_group_is_the_number_of_its_operators(name):
    assert order_of(name) == len(symmetry_operators(name))


@pytest.mark.parametrize("symmetry", ["C1", "D7"])
@pytest.mark.parametrize("angst", [(15.0, 40.0, 0.0), (60.0, 60.0, 250.0), (20.0, 20.0, 150.0)])
def test_sizes_are_those_of_the_search(symmetry, angst):
    resolution, initial, diameter = angst
    flat = {
        "symmetry": symmetry, "shift_std_px": 5.0, "global_resolution_angst": resolution,
        "initial_resolution_angst": initial, "particle_diameter_angst": diameter,
    }  # fmt: skip
    work = work_of(box=200, **flat)
    config = from_flat(Refine3DConfig, {"particles_file": "a.star", **flat})
    operators, diameter = symmetry_operators(symmetry), diameter or 0.9 * 300.0
    limit = limits(
        config, box_size_px=200, pixel_size_angst=1.5, diameter_angst=diameter,
        order=len(operators),
    )  # fmt: skip
    scan_set = make_scan_set(
        Search(config.filter, 1, 1),
        box_size_px=200,
        diameter_px=diameter / 1.5,
        cutoff_px=limit.global_px,
        lowest_px=limit.lowest_px,
        operators=operators,
    )
    assert work.scan_cutoff_px == scan_set.cutoff_px
    assert work.n_scan_shifts == len(scan_set.shift_px)
    assert work.n_scan_rotations == pytest.approx(len(scan_set.rotations), rel=0.03)


def test_down_sampling_and_centred_particles_are_seen():
    halved = work_of(downsample_box_px=80)
    assert (halved.box_size_px, halved.last_cutoff_px) == (80, 40)
    centred = work_of(shift_std_px=0.0)
    assert (centred.n_scan_shifts, centred.n_local_shifts) == (1, 1)


def test_support_points_are_counted_to_the_byte():
    clouds = PoseCloud.unknown(10, 3, 125, 25, np.ones(9))
    held = clouds.rotations.nbytes + clouds.shift_px.nbytes + clouds.defocus_factor.nbytes
    work = work_of(n_classes=3, n_local_rotations=125, n_local_shifts=25, defocus_search=True)
    assert 10 * work.cloud_bytes == held


def test_cached_images_are_counted_to_the_byte():
    plan = forecast3d(WORK)
    assert plan.parts["cached images"] == 50_000 * 160 * 160 * np.float32().nbytes
    assert plan.host_bytes == sum(plan.parts.values())
    halved = forecast3d(replace(WORK, n_ranks=2))
    assert 2 * halved.parts["cached images"] == plan.parts["cached images"]


@pytest.mark.parametrize(
    "field, more",
    [
        ("n_particles", 100_000),
        ("n_classes", 4),
        ("box_size_px", 200),
        ("padding", 3),
        ("n_local_rotations", 500),
        ("scan_cutoff_px", 30),
    ],
)
def test_more_work_takes_more_time_and_no_less_memory(field, more):
    before, after = forecast3d(WORK), forecast3d(replace(WORK, **{field: more}))
    assert after.seconds_per_iteration >= before.seconds_per_iteration
    assert after.host_bytes >= before.host_bytes
    assert (after.seconds_per_iteration, after.host_bytes) != (
        before.seconds_per_iteration, before.host_bytes
    )  # fmt: skip


def test_without_a_scan_the_last_cut_off_decides():
    near = replace(WORK, scan_cutoff_px=0, n_scan_rotations=0)
    finer = forecast3d(replace(near, last_cutoff_px=100))
    assert finer.seconds_per_iteration > forecast3d(near).seconds_per_iteration


def test_the_batch_keeps_to_the_memory():
    free = forecast3d(WORK)
    assert free.batch_size > SMALLEST_BATCH
    tight = forecast3d(replace(WORK, memory_bytes=GIB))
    assert tight.batch_size <= free.batch_size and tight.cache_bytes <= GIB // 2
    assert forecast3d(replace(WORK, batch_size=7)).batch_size == 7


def test_a_gpu_takes_what_is_free_on_it():
    work = replace(WORK, backend="cuda", device_bytes=12 * GIB)
    plan = forecast3d(work)
    assert 0 < plan.device_bytes <= 12 * GIB
    assert plan.seconds_per_iteration < forecast3d(WORK).seconds_per_iteration
    assert "GiB on its GPU" in plan.in_words


def test_the_forecast_reads_as_a_sentence():
    words = forecast3d(WORK).in_words
    assert "GiB of memory per rank, about" in words and words.endswith("per iteration")
