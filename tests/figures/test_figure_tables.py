# SPDX-License-Identifier: GPL-3.0-or-later
"""Tables that figures are drawn from: order, shares, curves, missing numbers."""

from __future__ import annotations

import numpy as np
import pytest

from cryoralib_plugin.figures import ClassTable, FrcTable, History, PoseTable


def _classes() -> ClassTable:
    return ClassTable(
        number=np.array([1, 2, 3, 4]),
        n_members=np.array([30, 50, 0, 20]),
        resolution_angst=np.array([12.0, np.nan, np.nan, 9.0]),
        mean_score=np.array([1.0, 3.0, np.nan, 2.0]),
        alive=np.array([True, True, False, True]),
    )


@pytest.mark.parametrize(
    ("sort_by", "numbers"),
    [
        ("size", [2, 1, 4, 3]),
        ("resolution", [4, 1, 2, 3]),
        ("score", [2, 4, 1, 3]),
        ("class", [1, 2, 3, 4]),
    ],
)
def test_best_class_comes_first_and_unknown_or_dead_ones_last(sort_by, numbers):
    classes = _classes()
    assert classes.number[classes.order(sort_by)].tolist() == numbers


def test_unknown_order_is_refused_in_words():
    with pytest.raises(ValueError, match="size, resolution, score, class; it is 'beauty'"):
        _classes().order("beauty")


def test_shares_sum_to_one_and_are_zero_without_particles():
    classes = _classes()
    assert classes.share.sum() == pytest.approx(1.0)
    nobody = ClassTable.from_records([{"class": 1, "n_members": 0}])
    assert nobody.share.tolist() == [0.0]


def test_null_of_a_model_file_becomes_not_a_number():
    records = [{"class": 7, "n_members": 3, "resolution_angst": None, "alive": False}]
    classes = ClassTable.from_records(records)
    assert np.isnan(classes.resolution_angst[0]) and np.isnan(classes.mean_score[0])
    assert not classes.alive[0] and classes.number[0] == 7


def test_columns_of_different_length_are_refused():
    with pytest.raises(ValueError, match="one length"):
        ClassTable(np.arange(3), np.arange(2), np.zeros(3), np.zeros(3), np.ones(3, bool))


def test_curve_of_a_class_rises_in_frequency():
    table = FrcTable(np.array([2, 1, 2, 2, 2]), np.array([0.3, 0.1, 0.1, 0.2, 0]), np.arange(5.0))
    frequency, frc = table.curve(2)
    assert frequency.tolist() == [0.1, 0.2, 0.3]  # the mean of the images is not a ring
    assert frc.tolist() == [2.0, 3.0, 0.0]


def test_selected_poses_are_the_members_of_the_classes():
    poses = PoseTable(
        np.array([1, 2, 0, 2]), np.arange(4.0), np.arange(8.0).reshape(4, 2), np.zeros(4, bool),
        np.zeros(4),
    )  # fmt: skip
    chosen = poses.select([2])
    assert chosen.psi_deg.tolist() == [1.0, 3.0]
    assert chosen.shift_px.tolist() == [[2.0, 3.0], [6.0, 7.0]]


def test_a_column_without_numbers_counts_as_absent():
    history = History({"iteration": np.array([1.0]), "mean_score": np.array([np.nan])})
    assert history.get("mean_score") is None and history.get("nothing") is None
    assert len(history) == 1 and len(History()) == 0
