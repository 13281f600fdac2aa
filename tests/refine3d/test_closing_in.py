# SPDX-License-Identifier: GPL-3.0-or-later
"""What points that close in on the peaks weigh, and where they are tried."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from cryoralib_plugin.contract.particle_filter import ParticleFilter
from cryoralib_plugin.geometry.acg import draw_steps, ratio_of_scale
from cryoralib_plugin.geometry.rotations import angle_between, from_axis_angle, normalise
from cryoralib_plugin.geometry.so3_grid import scan_rotations
from cryoralib_plugin.geometry.symmetry import symmetry_operators
from cryoralib_plugin.refine3d import closing_in
from cryoralib_plugin.refine3d.closing_in import Drawn, Scanned, Steps, remembered_points
from cryoralib_plugin.refine3d.local_search import Search
from cryoralib_plugin.refine3d.pose_search import Reach
from cryoralib_plugin.refine3d.posterior import weigh

SEARCH = Search(ParticleFilter(), 5, 1)
POSE = np.array([1.0, 0.0, 0.0, 0.0])
PAIR = np.stack([POSE, from_axis_angle(np.array([1.0, 0.0, 0.0]), 90.0)])


class Particles:
    """All that the closing in itself looks at."""

    band = SimpleNamespace(lowest_px=1)

    def __init__(self, n):
        self.ids, self.spectra = np.arange(n), np.zeros((n, 1))

    def __len__(self):
        return len(self.ids)

    def within(self, lowest_px, highest_px):
        return self


@pytest.mark.parametrize("counts", [(300, 100), (392, 8)], ids=["enough count", "few count"])
def test_where_points_are_tried_is_the_prior_of_where_they_end(monkeypatch, counts):
    n, room, likelihood = 400, np.array([0.25, 0.75]), np.array([0.0, 1.0])

    def scored(data, volume, points):
        # What a long step takes to neither pose is nothing.
        scores = np.full(points.rotations.shape[:2], -np.inf)
        for pose, height in zip(PAIR, likelihood):
            scores[angle_between(points.rotations, pose) < 30.0] = height
        return weigh(points, scores[..., None, None].repeat(25, axis=2))

    monkeypatch.setattr(closing_in, "scored", scored)
    rotations = np.repeat(PAIR, counts, axis=0)[None].repeat(n, axis=0)
    # What the draw prefers leaves no trace.
    log_room = np.repeat(np.log(room / counts), counts)[None].repeat(n, axis=0)
    shifts = np.zeros((n, 25, 2))
    first = Drawn(rotations, shifts, log_room, np.zeros((n, 25)))
    found, _ = closing_in.closed_in(
        Particles(n), None, np.ones(n), first, (200,), (5, 6), Steps(1.0, 0.5), SEARCH
    )
    at = angle_between(found.rotations, PAIR[1]) < 30.0
    probability = (found.rotation_weight * at).sum(axis=1)
    odds = np.array(counts) * np.exp(likelihood)
    # The mean over draws, to four standard errors.
    error = 4.0 * probability.std() / np.sqrt(n) + 1e-3
    assert probability.mean() == pytest.approx(odds[1] / odds.sum(), abs=error)
    assert error < 0.02


def test_points_of_a_scan_and_remembered_ones_together_weigh_what_they_cover():
    n = 20
    rng = np.random.default_rng(3)
    ratio = np.full((n, 3), ratio_of_scale(8.0))
    own = draw_steps(ratio, rng.normal(size=(n, 125, 4)))
    operators = symmetry_operators("C1")
    turns = normalise(rng.normal(size=(n, 4)))
    grid = np.stack([scan_rotations(3000, operators, turn) for turn in turns])
    nothing = np.zeros((n, 3000)), np.zeros((n, 30))
    scanned = Scanned(Drawn(grid, rng.normal(size=(n, 30, 2)), *nothing), 3000, 1.0)
    drawn = remembered_points(
        np.arange(n), own, np.zeros((n, 25, 2)), Steps(4.0, 0.5), SEARCH, scanned
    )
    assert drawn.rotations.shape == (n, 3250, 4) and drawn.shift_px.shape == (n, 55, 2)
    # The share of all rotations that turn by less than an angle is (angle - sin(angle)) / pi.
    near = angle_between(drawn.rotations, POSE) < 30.0
    share = (np.deg2rad(30.0) - np.sin(np.deg2rad(30.0))) / np.pi
    covered = (np.exp(drawn.log_rotation) * near).sum(axis=1)
    assert covered.mean() == pytest.approx(share, rel=0.07)
    # Where many are remembered, the scan hardly counts.
    close = angle_between(drawn.rotations, POSE) < 4.0
    weight = np.exp(drawn.log_rotation)
    assert np.median(weight[close]) < 0.1 * np.median(weight[~near])


def test_rotations_that_a_scan_lacks_stay_out():
    # A scan of fewer rotations than points are kept.
    rotations = np.stack([PAIR[0], PAIR[1], PAIR[0]])[None].repeat(5, axis=0)
    missing = np.tile([0.0, 0.0, -np.inf], (5, 1))
    scan = Drawn(rotations, np.zeros((5, 30, 2)), missing, np.zeros((5, 30)))
    drawn = remembered_points(
        np.arange(5), np.tile(POSE, (5, 25, 1)), np.zeros((5, 25, 2)), Steps(4.0, 0.5), SEARCH,
        Scanned(scan, 2, 1.0),
    )  # fmt: skip
    assert np.isfinite(drawn.log_rotation).tolist() == [[True, True, False] + 50 * [True]] * 5


@pytest.mark.parametrize("symmetry", ["C1", "O", "I"])
def test_however_coarse_a_scan_is_there_are_other_poses(symmetry):
    operators = symmetry_operators(symmetry)
    rotations = normalise(np.random.default_rng(1).normal(size=(2000, 4)))
    apart = angle_between(rotations, POSE, operators)
    far_deg = Reach(operators, 200.0, 1.0).far_deg
    assert 0.1 < (apart > far_deg).mean() < 0.9
    assert Reach(operators, 2.0, 1.0).far_deg == 6.0


def test_remembered_points_weigh_what_their_density_undoes():
    # Uneven numbers about two poses must not make the crowded one more likely.
    crowded = np.repeat(PAIR, (100, 25), axis=0)[None].repeat(40, axis=0)
    drawn = remembered_points(
        np.arange(40), crowded, np.zeros((40, 25, 2)), Steps(2.0, 0.5), SEARCH
    )
    mass = np.exp(drawn.log_rotation)
    near = [angle_between(drawn.rotations, pose) < 3.0 for pose in PAIR]
    assert near[0].sum() == pytest.approx(4 * near[1].sum(), rel=0.1)
    first, second = ((mass * one).sum() for one in near)
    assert first == pytest.approx(second, rel=0.1)
    # Shifts: a weight is the area that a point stands for.
    weight = np.exp(drawn.log_shift)
    density = np.exp(-0.5 * (drawn.shift_px**2).sum(axis=-1) / 0.5**2)
    np.testing.assert_allclose(weight * density, 2.0 * np.pi * 0.5**2 / 25)
