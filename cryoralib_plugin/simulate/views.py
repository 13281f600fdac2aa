# SPDX-License-Identifier: GPL-3.0-or-later
"""Directions that the molecule is seen from."""

from __future__ import annotations

import numpy as np

from cryoralib_plugin.contract.simulate import SimulatedViews
from cryoralib_plugin.kernels.random import uniform

from .draws import Phase
from .phantom import directions

_CANDIDATES = 4096


def rot_tilt(view: np.ndarray) -> np.ndarray:
    """Return (..., 2) rot and tilt, degrees, of view directions (..., 3)."""
    rot = np.arctan2(view[..., 1], view[..., 0])
    tilt = np.arccos(np.clip(view[..., 2], -1.0, 1.0))
    return np.rad2deg(np.stack([rot, tilt], axis=-1))


def distinct_views(seed: int, n_views: int, separation_deg: float) -> np.ndarray:
    """Return (n_views, 3) unit vectors, no two of which lie on nearly the same line.

    Opposite directions give mirror images of one projection, so the angle is measured between
    lines. Each view is the candidate that is farthest from those before it.

    Raises
    ------
    ValueError
        If so many views cannot be so far apart.
    """
    draws = uniform(seed, 0, Phase.VIEW_DIRECTION, np.arange(_CANDIDATES), 2)
    candidates = directions(draws)
    chosen = np.zeros((n_views, 3))
    chosen[0] = candidates[0]
    nearest = np.zeros(_CANDIDATES)
    for i in range(1, n_views):
        nearest = np.maximum(nearest, np.abs(candidates @ chosen[i - 1]))
        chosen[i] = candidates[nearest.argmin()]
        apart = float(np.rad2deg(np.arccos(min(1.0, nearest.min()))))
        if apart < separation_deg:
            raise ValueError(
                f"only {i} of the {n_views} views could be placed {separation_deg:g} degrees apart "
                f"(the next is {apart:.1f} degrees from one of them): ask for fewer views or a "
                "smaller separation"
            )
    return chosen


def view_proportions(views: SimulatedViews) -> np.ndarray:
    """Return the share of the particles in each view, (n_views,) float64, largest first."""
    steps = np.arange(views.n_views) / max(1, views.n_views - 1)
    sizes = views.class_imbalance**-steps
    return sizes / sizes.sum()


def view_of_quantile(views: SimulatedViews, quantile: np.ndarray) -> np.ndarray:
    """Return which view (from 0) numbers in (0, 1) fall on, by the views' proportions."""
    edges = np.cumsum(view_proportions(views))[:-1]
    return np.searchsorted(edges, quantile)


def balanced_quantiles(seed: int, particle_ids: np.ndarray, n_strata: int) -> np.ndarray:
    """Return (n,) numbers in (0, 1), every run of ``n_strata`` ids spread evenly over them.

    The order within a run is random: a fixed one would tie the views to the parity of the id,
    and with it to the half sets.
    """
    blocks, within = np.divmod(particle_ids, n_strata)
    unique_blocks, row = np.unique(blocks, return_inverse=True)
    order = uniform(seed, 0, Phase.VIEW_ORDER, unique_blocks, n_strata)
    rank = order.argsort(axis=1).argsort(axis=1)[row.ravel(), within]
    return (rank + uniform(seed, 0, Phase.VIEW, particle_ids, 1)[:, 0]) / n_strata


def random_views(views: SimulatedViews, uniform_draws: np.ndarray) -> np.ndarray:
    """Return (n, 2) rot and tilt, degrees, of draws (n, 3) from (0, 1).

    Uniform on the sphere, or with the preferred view's share in a cap around it.
    """
    height, azimuth, choice = uniform_draws.T
    if views.view_choice == "preferred":
        lowest = np.cos(np.deg2rad(views.preferred_spread_deg))
        # Directions with z from lowest to 1 are the cap around the z axis.
        in_cap = 0.5 * (lowest + (1.0 - lowest) * height + 1.0)
        height = np.where(choice < views.preferred_fraction, in_cap, height)
    return rot_tilt(directions(np.stack([height, azimuth], axis=-1)))
