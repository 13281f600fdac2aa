# SPDX-License-Identifier: GPL-3.0-or-later
"""A map from particles alone: the molecule, at any turn and of either hand."""

from __future__ import annotations

import numpy as np
import pytest

from cryoralib_plugin.fourier.maps import resample_volume
from cryoralib_plugin.fourier.shells import lowpass_volume
from cryoralib_plugin.geometry.map_symmetry import symmetry_agreement, turn_map
from cryoralib_plugin.geometry.so3_grid import super_fibonacci
from cryoralib_plugin.geometry.symmetry import symmetry_operators
from cryoralib_plugin.refine3d.ab_initio import ab_initio_map
from cryoralib_plugin.refine3d.image_power import summed_image_power
from tests.reference.known_poses import PIXEL, posed_blobs

BOX = 32
RESOLUTION = 24.0


def _best_correlation(found, truth):
    """Largest correlation over turns, shifts and both hands, at low resolution."""
    found, truth = (
        resample_volume(lowpass_volume(v.astype(float), PIXEL, RESOLUTION), 16)
        for v in (found, truth)
    )
    spectrum = np.fft.rfftn(truth)
    best = -1.0
    for one in (found, np.roll(found[::-1], 1, axis=0)):
        for turn in super_fibonacci(1500):
            turned = turn_map(one, turn, order=1)
            match = np.fft.irfftn(spectrum * np.fft.rfftn(turned).conj())
            norm = np.linalg.norm(turned) * np.linalg.norm(truth)
            best = max(best, float(match.max() / norm))
    return best


@pytest.fixture(scope="module")
def symmetric():
    posed = posed_blobs(
        250, BOX, seed=3, fold=4, symmetry="C4", particle_diameter_angst=75.0,
        start_from_poses=False, shift_std_px=2.0,
    )  # fmt: skip
    return posed, ab_initio_map(posed.task, summed_image_power(posed.task))


def test_the_molecule_is_found_in_its_symmetry(symmetric):
    posed, found = symmetric
    assert symmetry_agreement(found, symmetry_operators("C4")) > 0.9
    assert _best_correlation(found, posed.volume) > 0.85


def test_it_is_on_the_scale_of_the_particles(symmetric):
    posed, found = symmetric
    ratio = np.linalg.norm(found) / np.linalg.norm(lowpass_volume(posed.volume, PIXEL, RESOLUTION))
    assert 0.6 < ratio < 1.4
