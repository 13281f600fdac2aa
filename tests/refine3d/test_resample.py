# SPDX-License-Identifier: GPL-3.0-or-later
"""Resampling is fair and as even as it can be; bad weights set a particle aside."""

from __future__ import annotations

import numpy as np
import pytest

from cryoralib_plugin.refine3d.resample import (
    n_effective,
    rows_of_counts,
    systematic_counts,
    tempered,
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


def test_tempered_weights_are_powers_that_leave_enough_points(xp):
    logs = xp.asarray(np.log(random_weights(7, 40, 200)) * 30.0)
    logs[:, :3] = -xp.inf
    weights, exponent = (np.asarray(x.tolist()) for x in tempered(logs, 12.0))
    before = np.asarray(weights_of(logs)[0].tolist())
    assert (n_effective(before) < 12.0).all()
    np.testing.assert_allclose(n_effective(weights), 12.0, rtol=1e-3)
    assert (weights[:, :3] == 0.0).all() and ((exponent > 0) & (exponent < 1)).all()
    # What tempering changed is undone by the power that is missing.
    rest = (1.0 - exponent[:, None]) * np.asarray(logs.tolist())[:, 3:]
    undone = weights[:, 3:] * np.exp(rest - rest.max(axis=1, keepdims=True))
    undone /= undone.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(undone, before[:, 3:], rtol=1e-6, atol=1e-12)


def test_weights_of_which_enough_count_are_not_tempered():
    logs = np.log(np.array([[0.25, 0.25, 0.25, 0.25], [0.7, 0.1, 0.1, 0.1]]))
    weights, exponent = tempered(logs, 1.5)
    np.testing.assert_allclose(weights, np.exp(logs))
    assert exponent.tolist() == [1.0, 1.0]
