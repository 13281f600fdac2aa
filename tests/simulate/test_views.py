# SPDX-License-Identifier: GPL-3.0-or-later
"""Views: how far apart, how many of each, and never tied to the half sets."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cryoralib_plugin.contract.simulate import SimulatedViews
from cryoralib_plugin.simulate.view_set import QUALITY_SEEDS
from cryoralib_plugin.simulate.views import (
    balanced_quantiles,
    distinct_views,
    random_views,
    rot_tilt,
    view_of_quantile,
    view_proportions,
)

DISCRETE = SimulatedViews(view_choice="discrete")


@pytest.mark.parametrize("seed", QUALITY_SEEDS)
def test_ten_views_are_thirty_degrees_apart_also_after_mirroring(seed):
    views = distinct_views(seed, 10, 30.0)
    np.testing.assert_allclose(np.linalg.norm(views, axis=1), 1.0)
    cosines = np.abs(views @ views.T)
    np.fill_diagonal(cosines, 0.0)
    assert np.rad2deg(np.arccos(cosines.max())) >= 30.0


def test_views_that_do_not_fit_are_refused_in_words():
    with pytest.raises(ValueError, match=r"only \d+ of the 30 views could be placed 40 degrees"):
        distinct_views(1, 30, 40.0)


def test_angles_give_the_directions_back():
    views = distinct_views(2, 12, 10.0)
    rot, tilt = np.deg2rad(rot_tilt(views)).T
    back = np.stack([np.sin(tilt) * np.cos(rot), np.sin(tilt) * np.sin(rot), np.cos(tilt)], axis=-1)
    np.testing.assert_allclose(back, views, atol=1e-12)


def test_balanced_views_have_equal_numbers_and_are_not_tied_to_parity():
    ids = np.arange(2000)
    view = view_of_quantile(DISCRETE, balanced_quantiles(7, ids, 10))
    np.testing.assert_array_equal(np.bincount(view), 200)
    odd = np.bincount(view[ids % 2 == 1])
    assert odd.min() > 70 and odd.max() < 130


def test_imbalanced_views_have_their_proportions():
    views = replace(DISCRETE, n_views=5, class_imbalance=16.0)
    share = view_proportions(views)
    assert share[0] / share[-1] == pytest.approx(16.0)
    np.testing.assert_allclose(share[1:] / share[:-1], 0.5)
    view = view_of_quantile(views, balanced_quantiles(7, np.arange(10000), 5))
    np.testing.assert_allclose(np.bincount(view) / 10000, share, atol=0.01)


def test_view_of_a_particle_does_not_depend_on_the_others():
    everything = balanced_quantiles(9, np.arange(100), 7)
    np.testing.assert_array_equal(balanced_quantiles(9, np.array([63, 5, 64]), 7),
                                  everything[[63, 5, 64]])  # fmt: skip


def test_preferred_views_hold_their_share_in_the_cap():
    views = SimulatedViews(
        view_choice="preferred", preferred_fraction=0.6, preferred_spread_deg=20.0
    )
    tilt = random_views(views, np.random.default_rng(1).random((20000, 3)))[:, 1]
    cap = (1 - np.cos(np.radians(20.0))) / 2
    assert (tilt < 20.0).mean() == pytest.approx(0.6 + 0.4 * cap, abs=0.015)
