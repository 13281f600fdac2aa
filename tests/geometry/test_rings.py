# SPDX-License-Identifier: GPL-3.0-or-later
"""Ring layout against SPARX's table."""

from __future__ import annotations

import numpy as np
import pytest

from cryoralib_plugin.geometry.rings import RingLayout

SPARX_LENGTHS = [(1, 8), (2, 16), (5, 32), (10, 64), (20, 128), (40, 256), (81, 512), (162, 1024)]


def test_ring_lengths_are_those_of_sparx_up_to_radius_162():
    rings = RingLayout.from_radii(1, 162)
    first = 1
    for last, length in SPARX_LENGTHS:
        assert set(rings.lengths[first - 1 : last]) == {length}, (first, last)
        first = last + 1


@pytest.mark.parametrize(
    "radius, total, angles", [(29, 4024, 256), (36, 5816, 256), (52, 12984, 512), (64, 19128, 512)]
)
def test_total_samples(radius, total, angles):
    rings = RingLayout.from_radii(1, radius)
    assert (rings.n_samples, rings.n_angles) == (total, angles)
    assert rings.starts[-1] + rings.lengths[-1] == total


def test_sample_weights_add_up_to_the_rings_circumferences():
    rings = RingLayout.from_radii(1, 36)
    assert (rings.sample_weights * rings.lengths).sum() == pytest.approx(4184.6014, abs=1e-4)


def test_table_is_that_of_sparx(shared_data):
    data = np.load(shared_data / "oracle" / "sparx_intermediates.npz")
    radius, start, length = np.asarray(data["numr"]).reshape(-1, 3).T
    rings = RingLayout.from_radii(1, 36)
    np.testing.assert_array_equal(rings.radii_px, radius)
    np.testing.assert_array_equal(rings.starts + 1, start)
    np.testing.assert_array_equal(rings.lengths, length)
    weights = rings.sample_weights * rings.n_angles / rings.lengths
    np.testing.assert_allclose(weights, np.asarray(data["wr"]), rtol=1e-5)


@pytest.mark.parametrize(
    "arguments, words",
    [
        ((0, 5), "1 <= inner <= outer"),
        ((6, 5), "inner is 6 px and outer is 5 px"),
        ((1, 5, 0), "step must be at least 1 px"),
    ],
)
def test_impossible_rings_are_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        RingLayout.from_radii(*arguments)
