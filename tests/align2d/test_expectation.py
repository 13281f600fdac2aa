# SPDX-License-Identifier: GPL-3.0-or-later
"""The expectation step, with SPARX's own numbers and at the edge of the frame."""

import csv

import mrcfile
import numpy as np
import pytest

from cryoralib_plugin.align2d.expectation import (
    expectation,
    frame_room,
    search_plan,
    shifts_in_frame,
)
from cryoralib_plugin.align2d.maximization import without_mean
from cryoralib_plugin.contract.presets import apply_preset
from cryoralib_plugin.contract.schedule import shift_stages
from cryoralib_plugin.fourier.masks import circular_mask
from cryoralib_plugin.geometry.rigid2d import to_sparx
from cryoralib_plugin.kernels.ring_match import prepare_references


@pytest.mark.parametrize(
    ("name", "references", "given"),
    [
        ("K5", "K5", {}),
        ("K5_ou30", "K5", {"outer_radius_px": 30}),
        ("K5_ts0.5_xr2", "K5", {"shift_range_px": "2", "shift_step_px": "0.5"}),
    ],
)
def test_the_sparx_preset_gives_what_sparx_gives(program, shared_data, name, references, given):
    oracle = shared_data / "oracle"
    rows = list(csv.DictReader(open(oracle / f"sparx_mra_{name}.csv")))
    images = mrcfile.read(oracle / "mra_particles_300.mrcs")[: len(rows)]
    averages = mrcfile.read(oracle / f"mra_references_{references}.mrcs")
    config = apply_preset(
        program.config(
            preset="sparx_compat",
            **{"outer_radius_px": 36, "shift_range_px": "3", **given},
            annealing_iterations=8,
        )
    )
    radius = config.search.outer_radius_px
    (stage,) = shift_stages(config.search)
    plan = search_plan(config.search, stage, radius)
    averages = without_mean(averages, circular_mask(90, radius).astype(np.float64))
    references = prepare_references(averages, plan, normalise=config.search.normalise_references)
    found, _ = expectation(images, np.zeros((len(images), 2)), references, plan)
    column = {key: np.array([float(row[key]) for row in rows]) for key in rows[0]}
    alpha, translation, mirror = to_sparx(found.poses)
    np.testing.assert_array_equal(found.reference, column["ref"].astype(int))
    np.testing.assert_array_equal(mirror, column["m"].astype(bool))
    np.testing.assert_allclose(translation, np.stack([column["tx"], column["ty"]], 1), atol=2e-3)
    difference = (alpha - column["alpha"] + 180.0) % 360.0 - 180.0
    np.testing.assert_allclose(difference, 0.0, atol=0.01)
    np.testing.assert_allclose(found.score, column["peak"], rtol=1e-4)


def test_shifts_out_of_the_frame_are_clamped_or_reset():
    room = frame_room(90, 36)
    assert room == 8.0
    shift = np.array([[9.0, 1.0], [-3.0, -12.5], [8.0, 8.0], [0.0, 0.0]])
    np.testing.assert_array_equal(
        shifts_in_frame(shift, room, "clamp"), [[8, 1], [-3, -8], [8, 8], [0, 0]]
    )
    np.testing.assert_array_equal(
        shifts_in_frame(shift, room, "reset"), [[0, 0], [0, 0], [8, 8], [0, 0]]
    )


def test_a_running_shift_can_grow_beyond_one_search_range(program, views):
    """Only the frame bounds the shift: each search is centred on the one before."""
    config = program.config(shift_range_px="1")
    (stage,) = shift_stages(config.search)
    plan = search_plan(config.search, stage, 18)
    references = prepare_references(views.references, plan, normalise=True)
    far = np.roll(views.references, (0, 3), axis=(1, 2)).astype(np.float32)
    shift = np.zeros((len(far), 2))
    for _ in range(4):
        found, _ = expectation(far, shifts_in_frame(shift, 5.0, "clamp"), references, plan)
        shift = found.poses.shift_px
    np.testing.assert_allclose(shift, [[-3.0, 0.0]] * len(far), atol=0.15)
