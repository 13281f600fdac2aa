# SPDX-License-Identifier: GPL-3.0-or-later
"""Figures of merit: what they are for perfect, spoilt and empty results."""

import numpy as np
import pytest

from cryoralib_plugin.align2d.metrics import effective_classes, iteration_metrics
from cryoralib_plugin.align2d.state import Align2DState, Assignments
from cryoralib_plugin.align2d.truth import class_angle_errors, class_quality
from cryoralib_plugin.geometry.rigid2d import Poses2D, compose


def random_poses(rng, n):
    return Poses2D(rng.uniform(-180, 180, n), rng.uniform(-3, 3, (n, 2)), rng.random(n) < 0.5)


def constant_pose(n, psi, mirror):
    return Poses2D(np.full(n, psi), np.zeros((n, 2)), np.full(n, mirror))


def test_a_common_rotation_and_mirror_is_no_error(rng):
    true = random_poses(rng, 50)
    for psi, mirror in ((0.0, False), (77.0, False), (-130.0, True)):
        found = compose(true, constant_pose(50, psi, mirror))
        np.testing.assert_allclose(class_angle_errors(found, true), 0.0, atol=1e-9)


def test_errors_of_angle_and_hand_are_found(rng):
    true = random_poses(rng, 51)
    wrong = Poses2D(true.psi_deg.copy(), true.shift_px, true.mirror.copy())
    wrong.psi_deg[:10] += 5.0
    wrong.mirror[50] = ~wrong.mirror[50]
    errors = class_angle_errors(wrong, true)
    np.testing.assert_allclose(errors[:10], 5.0)
    np.testing.assert_allclose(errors[10:50], 0.0, atol=1e-9)
    assert errors[50] == 180.0


def test_purity_counts_views_and_dead_classes(rng):
    view = np.repeat([0, 1, 2], 10)
    true = random_poses(rng, 30)
    found = Assignments(view.astype(np.int32), true, np.ones(30))
    perfect = class_quality(found, view, true, n_classes=4)
    assert (perfect.purity, perfect.views_found, perfect.dead_classes) == (1.0, 3, 1)
    assert perfect.effective_classes == pytest.approx(3.0)
    one = Assignments(np.zeros(30, np.int32), true, np.ones(30))
    merged = class_quality(one, view, true, n_classes=4)
    assert merged.purity == pytest.approx(1 / 3)
    assert (merged.views_found, merged.dead_classes) == (1, 3)


def test_effective_classes_of_equal_and_of_one_class():
    assert effective_classes(np.array([5, 5, 5, 5])) == pytest.approx(4.0)
    assert effective_classes(np.array([20, 0, 0])) == pytest.approx(1.0)
    assert effective_classes(np.zeros(3, dtype=int)) == 0.0


def state_of(reference, n_classes, iteration=2):
    counts = np.zeros((n_classes, 2), dtype=np.int64)
    np.add.at(counts, (reference[reference >= 0], np.arange((reference >= 0).sum()) % 2), 1)
    zeros = np.zeros((n_classes, 16, 16), np.float32)
    return Align2DState(
        iteration, zeros, zeros[:, None].repeat(2, 1), np.ones((n_classes, 9)), counts
    )


def test_metrics_tell_what_changed(rng):
    poses = random_poses(rng, 10)
    before = Assignments(np.array([0] * 5 + [1] * 5, np.int32), poses, np.ones(10))
    mirror = poses.mirror.copy()
    mirror[0] = ~mirror[0]
    moved = Poses2D(poses.psi_deg, poses.shift_px + [3.0, 4.0], mirror)
    reference = np.array([0] * 4 + [1] * 5 + [-1], np.int32)
    now = Assignments(reference, moved, np.full(10, 2.0))
    row = iteration_metrics(
        state_of(reference, 3), now, before,
        minimum_class_size=4, radius_px=7, pixel_size_angst=2.0,
    )  # fmt: skip
    assert row["iteration"] == 2 and row["dead_classes"] == 1 and row["median_class_size"] == 4.0
    assert row["changed_fraction"] == pytest.approx(1 / 9)
    assert row["mirror_consistency"] == pytest.approx(8 / 9)
    # Every particle that kept class and hand moved by 5 px.
    assert row["pixel_error_px"] == pytest.approx(5.0)
    assert row["mean_score"] == 2.0 and row["resolution_best_angst"] == pytest.approx(4.0)


def test_metrics_of_a_first_iteration_have_no_change(rng):
    now = Assignments(np.zeros(4, np.int32), random_poses(rng, 4), np.ones(4))
    row = iteration_metrics(
        state_of(now.reference, 1), now, Assignments.none(4),
        minimum_class_size=4, radius_px=7, pixel_size_angst=2.0,
    )  # fmt: skip
    assert np.isnan(row["changed_fraction"]) and np.isnan(row["pixel_error_px"])
