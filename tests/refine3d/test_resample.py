# SPDX-License-Identifier: GPL-3.0-or-later
"""Resampling is fair and as even as it can be; bad weights set a particle aside."""

from __future__ import annotations

import numpy as np
import pytest

from cryoralib_plugin.refine3d.resample import (
    cut_peak,
    n_effective,
    peak_factor,
    rows_of_counts,
    systematic_counts,
    weights_of,
)


def random_weights(seed: int, *shape: int) -> np.ndarray:
    drawn = np.random.default_rng(seed).gamma(0.3, size=shape)
    return drawn / drawn.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize("n_points", [1, 9, 125, 1000])
def test_counts_differ_from_their_share_by_less_than_one(xp, n_points):
    weights = random_weights(1, 50, 60)
    offsets = np.random.default_rng(2).random(50)
    counts = systematic_counts(xp.asarray(weights), xp.asarray(offsets), n_points)
    counts = np.asarray(counts.tolist())
    assert (counts.sum(axis=1) == n_points).all() and (counts >= 0).all()
    assert np.abs(counts - n_points * weights).max() < 1.0


def test_counts_are_their_share_in_the_mean():
    weights = random_weights(3, 12)
    offsets = np.random.default_rng(4).random(10000)
    counts = systematic_counts(np.broadcast_to(weights, (10000, 12)), offsets, 9)
    # A count is one of two neighbours, so its standard deviation is at most 1/2.
    np.testing.assert_allclose(counts.mean(axis=0), 9 * weights, atol=4 * 0.5 / 100)


def test_draws_are_those_of_marks_on_the_cumulative_weights():
    weights, n_points = random_weights(5, 7, 20), 15
    offsets = np.random.default_rng(6).random(7)
    rows = rows_of_counts(systematic_counts(weights, offsets, n_points), n_points)
    marks = (offsets[:, None] + np.arange(n_points)) / n_points
    expected = [np.searchsorted(np.cumsum(w), m, side="left") for w, m in zip(weights, marks)]
    np.testing.assert_array_equal(rows, expected)


def test_points_without_weight_are_never_drawn():
    weights = np.array([[0.0, 0.5, 0.0, 0.5, 0.0]])
    for offset in (1e-12, 0.3, 1 - 1e-12):
        counts = systematic_counts(weights, np.array([offset]), 8)
        assert counts.tolist() == [[0, 4, 0, 4, 0]]


def test_weights_that_are_none_are_refused():
    with pytest.raises(ValueError, match="add up to 1, but do not"):
        systematic_counts(np.array([0.5, 0.4]), np.array(0.5), 3)
    with pytest.raises(ValueError, match="add up to 1, but do not"):
        systematic_counts(np.array([0.5, np.nan]), np.array(0.5), 3)
    with pytest.raises(ValueError, match="at least 1 support point must be drawn, but 0"):
        systematic_counts(np.ones(1), np.array(0.5), 0)


def test_weights_follow_from_log_likelihoods_of_any_size(xp):
    logs = xp.asarray([[1e6, 1e6 - np.log(3.0)], [-1e6, -np.inf], [-5000.0, -5000.0]])
    weights, usable = weights_of(logs)
    np.testing.assert_allclose(weights.tolist(), [[0.75, 0.25], [1, 0], [0.5, 0.5]])
    assert usable.tolist() == [True, True, True]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_particle_without_finite_weights_is_set_aside_alone(bad):
    logs = np.array([[bad, bad, bad], [0.0, 0.0, -np.inf]])
    weights, usable = weights_of(logs)
    assert usable.tolist() == [False, True]
    np.testing.assert_allclose(weights, [[1 / 3] * 3, [0.5, 0.5, 0.0]])


def test_effective_number_of_points():
    assert n_effective(np.array([0.25] * 4)) == pytest.approx(4.0)
    assert n_effective(np.array([1.0, 0.0])) == 1.0


def test_the_cut_lies_at_the_weight_of_an_eighth_of_the_points():
    weights = np.arange(80, 0, -1.0)
    # Rank 80 // 8 = 10, counted from 0, has the weight 70.
    assert peak_factor(weights) == 0.5
    sharp = np.where(np.arange(80) < 5, 1.0, 1e-6)
    assert peak_factor(sharp) == 1e-3
    slope = np.array([1.0, 0.4, 0.2, 0.1, 0.1, 0.1, 0.1, 0.1])
    assert peak_factor(slope[::-1]) == pytest.approx(0.4)
    assert peak_factor(np.stack([slope, sharp[:8]])).tolist() == pytest.approx([0.4, 0.5])


def test_a_cut_takes_the_foot_of_a_peak_away():
    weights = np.array([[0.5, 0.3, 0.1, 0.1], [0.25, 0.25, 0.25, 0.25]])
    cut = cut_peak(weights, np.array([0.2, 0.5]))
    np.testing.assert_allclose(cut, [[4 / 6, 2 / 6, 0, 0], [0.25] * 4])
