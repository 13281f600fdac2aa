# SPDX-License-Identifier: GPL-3.0-or-later
"""The list of independent terms against a count by hand, Parseval and white noise."""

from __future__ import annotations

import numpy as np
import pytest

from cryoralib_plugin.fourier.half_plane import half_plane_terms
from cryoralib_plugin.fourier.masks import circular_mask
from cryoralib_plugin.fourier.transform import backward, forward


@pytest.mark.parametrize("lowest, highest", [(0, 1), (0, 7), (3, 12), (5, 6)])
def test_each_pair_of_terms_is_listed_once(xp, lowest, highest):
    terms = half_plane_terms(highest, lowest, xp)
    listed = list(zip(terms.kx.tolist(), terms.ky.tolist()))
    expected = {
        (x, y)
        for x in range(highest + 1)
        for y in range(-highest, highest + 1)
        if lowest**2 <= x * x + y * y < highest**2 and (x > 0 or y >= 0)
    }
    assert len(listed) == len(set(listed)) == len(terms) and set(listed) == expected
    radius = [round((x * x + y * y) ** 0.5) for x, y in listed]
    assert terms.shell.tolist() == radius


def test_half_of_the_terms_carry_half_of_the_energy():
    box, cutoff = 32, 12
    terms = half_plane_terms(cutoff)
    image = np.random.default_rng(2).normal(size=(box, box))
    listed = terms.take(forward(image))
    band_limited = backward(terms.put(listed, box), box)
    twice = 2 * (np.abs(listed) ** 2).sum() - listed[(terms.kx == 0) & (terms.ky == 0)].real ** 2
    assert twice[0] == pytest.approx(box**2 * (band_limited**2).sum(), rel=1e-10)
    np.testing.assert_allclose(terms.take(forward(band_limited)), listed, atol=1e-9)


def test_terms_of_white_noise_have_half_the_pixels_as_variance():
    box, n = 32, 200
    images = np.random.default_rng(3).normal(size=(n, box, box)).astype(np.float32)
    terms = half_plane_terms(14, 1)
    power = (np.abs(terms.take(forward(images))) ** 2).mean() / 2
    assert power == pytest.approx(box**2 / 2, rel=3 / np.sqrt(n * len(terms)))
    mask = circular_mask(box, 10, 4)
    masked = (np.abs(terms.take(forward(images * mask))) ** 2).mean() / 2
    # Masking correlates neighbouring terms, so fewer of them are independent.
    assert masked / power == pytest.approx((mask**2).mean(), rel=0.02)


def test_an_empty_band_is_refused():
    with pytest.raises(ValueError, match="0 <= lowest < highest radius, but they are 5 and 5"):
        half_plane_terms(5, 5)
