# SPDX-License-Identifier: GPL-3.0-or-later
"""Power of white noise in an unnormalised transform, whole and masked."""

from __future__ import annotations

import numpy as np
import pytest

from cryoralib_plugin.fourier.band import FourierBand, band_spectra
from cryoralib_plugin.fourier.masks import circular_mask

BOX, N_IMAGES = 32, 400


def test_terms_of_white_noise_have_half_the_pixels_as_variance_of_each_component():
    images = np.random.default_rng(3).normal(size=(N_IMAGES, BOX, BOX)).astype(np.float32)
    band = FourierBand.between(BOX, 1, 14)
    terms = band_spectra(images, band)
    within = 3 / np.sqrt(N_IMAGES * band.n_terms)
    assert (np.abs(terms) ** 2).mean() / 2 == pytest.approx(BOX**2 / 2, rel=within)
    for part in (terms.real, terms.imag):
        assert (part**2).mean() == pytest.approx(BOX**2 / 2, rel=1.5 * within)


def test_a_mask_leaves_the_share_of_the_noise_that_its_square_has():
    images = np.random.default_rng(4).normal(size=(N_IMAGES, BOX, BOX)).astype(np.float32)
    mask = circular_mask(BOX, 10, 4)
    band = FourierBand.between(BOX, 1, 14)
    power = (np.abs(band_spectra(images * mask, band)) ** 2).mean() / 2
    share = (mask**2).mean()
    # The mask correlates neighbouring terms: of N^2 / 2 about that share is independent.
    within = 3 / np.sqrt(N_IMAGES * band.n_terms * share)
    assert power == pytest.approx(share * BOX**2 / 2, rel=within)
