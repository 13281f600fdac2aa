# SPDX-License-Identifier: GPL-3.0-or-later
"""The sign of a shift, from the point in a map to the column in a STAR file."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cryoralib_plugin.fourier.band import FourierBand, band_images, shift_phases
from cryoralib_plugin.fourier.volume import fourier_volume
from cryoralib_plugin.kernels.project import project as project_slices
from cryoralib_plugin.particles.poses3d import columns_of_poses3d, poses3d_from_frame
from cryoralib_plugin.simulate.phantom import Phantom, density_map
from cryoralib_plugin.simulate.project import Poses3D, project

BOX, PIXEL = 32, 2.5
POINT = Phantom(np.array([[5 * PIXEL, 0.0, 0.0]]), np.ones(1), 1.5 * PIXEL, np.zeros(1, int))
"""A point at x = 5 px."""
MOVED = np.array([[-3.0, 0.0]])
"""The pose of an image whose content was moved by t = (+3, 0): what brings it back."""


def place(image):
    """Column and row of the highest pixel from the centre."""
    row, column = np.unravel_index(np.asarray(image).argmax(), image.shape)
    return column - BOX // 2, row - BOX // 2


def test_content_moves_to_the_right_in_the_simulator():
    pose = Poses3D(np.zeros((1, 3)), 0 * MOVED)
    assert place(project(POINT, pose, BOX, PIXEL)[0]) == (5, 0)
    assert place(project(POINT, Poses3D(np.zeros((1, 3)), MOVED), BOX, PIXEL)[0]) == (8, 0)


def test_content_moves_to_the_right_in_the_kernels():
    band = FourierBand.between(BOX, 0, 14)
    volume = fourier_volume(density_map(POINT, BOX, PIXEL), max_radius_px=14)
    slices = project_slices(volume, np.eye(3)[None], band)
    assert place(band_images(slices, band)[0]) == (5, 0)
    assert place(band_images(slices * shift_phases(MOVED, band), band)[0]) == (8, 0)


def test_relions_origin_is_what_brings_the_content_back():
    columns = columns_of_poses3d(np.array([[1.0, 0, 0, 0]]), MOVED, PIXEL)
    assert columns["rlnOriginXAngst"][0] == pytest.approx(-3 * PIXEL)
    assert columns["rlnOriginYAngst"][0] == 0.0
    _, shift, known = poses3d_from_frame(pd.DataFrame(columns), PIXEL, is_posed=True)
    np.testing.assert_allclose(shift, MOVED)
    assert known.all()
