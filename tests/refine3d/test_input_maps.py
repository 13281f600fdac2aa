# SPDX-License-Identifier: GPL-3.0-or-later
"""Maps of other boxes and voxels come to the particles' own, at the same place and scale."""

from __future__ import annotations

import numpy as np
import pytest

from cryoralib_plugin.geometry.map_symmetry import symmetrise_map
from cryoralib_plugin.geometry.symmetry import symmetry_operators
from cryoralib_plugin.io.mrc import write_volume
from cryoralib_plugin.refine3d.input_maps import read_map, read_mask, warn_of_symmetry

BLOBS_ANGST = np.array([[20.0, 5.0, -10.0], [-15.0, 20.0, 0.0], [0.0, -20.0, 15.0]])


def blobs(box, voxel_size, background=0.0):
    """Three Gaussian blobs of known places (x, y, z) about voxel N // 2."""
    axis = (np.arange(box) - box // 2) * voxel_size
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    volume = np.full((box,) * 3, background)
    for i, (bx, by, bz) in enumerate(BLOBS_ANGST):
        volume += (i + 1) * np.exp(-((x - bx) ** 2 + (y - by) ** 2 + (z - bz) ** 2) / (2 * 7.0**2))
    return volume.astype(np.float32)


@pytest.mark.parametrize(
    "box, voxel_size",
    [(40, 3.0), (64, 3.0), (33, 3.0), (60, 2.0), (45, 2.47), (33, 4.1), (96, 1.313)],
)
def test_a_map_keeps_place_and_scale(tmp_path, caplog, box, voxel_size):
    write_volume(tmp_path / "a.mrc", blobs(box, voxel_size), pixel_size_angst=voxel_size)
    with caplog.at_level("INFO", logger="cryoralib_plugin"):
        found = read_map(tmp_path / "a.mrc", 40, 3.0)
    np.testing.assert_allclose(found, blobs(40, 3.0), atol=0.02)
    assert found.dtype == np.float32
    changed = (box, voxel_size) != (40, 3.0)
    assert ("is brought to the particles' 40 px of 3 A" in caplog.text) == changed


def test_solvent_around_a_small_box_becomes_zero(tmp_path):
    write_volume(tmp_path / "a.mrc", blobs(36, 3.0, background=5.0), pixel_size_angst=3.0)
    np.testing.assert_allclose(read_map(tmp_path / "a.mrc", 48, 3.0), blobs(48, 3.0), atol=0.02)


@pytest.mark.parametrize("header", [0.0, 1.0])
def test_a_voxel_size_that_is_not_told_is_that_of_the_particles(tmp_path, caplog, header):
    write_volume(tmp_path / "a.mrc", blobs(40, 3.0), pixel_size_angst=header)
    np.testing.assert_array_equal(read_map(tmp_path / "a.mrc", 40, 3.0), blobs(40, 3.0))
    assert "does not tell its voxel size: 3 A, that of the particles, is assumed" in caplog.text


def test_a_voxel_size_that_cannot_be_guessed_is_refused(tmp_path):
    write_volume(tmp_path / "a.mrc", blobs(36, 3.0), pixel_size_angst=0.0)
    with pytest.raises(ValueError, match="its box of 36 px is not that of the particles, 40 px"):
        read_map(tmp_path / "a.mrc", 40, 3.0)


def test_a_mask_stays_between_0_and_1(tmp_path):
    hard = (blobs(60, 2.0) > 0.5).astype(np.float32)
    write_volume(tmp_path / "mask.mrc", hard, pixel_size_angst=2.0)
    mask = read_mask(tmp_path / "mask.mrc", 40, 3.0)
    assert mask.shape == (40, 40, 40) and mask.min() == 0.0 and mask.max() == 1.0
    assert (mask > 0.5).sum() * 27.0 == pytest.approx(hard.sum() * 8.0, rel=0.03)
    write_volume(tmp_path / "map.mrc", blobs(40, 3.0) - 1, pixel_size_angst=3.0)
    with pytest.raises(ValueError, match="map.mrc: the values of a mask must lie between 0 and 1"):
        read_mask(tmp_path / "map.mrc", 40, 3.0)


def test_a_map_without_its_symmetry_is_warned_of(caplog):
    volume = blobs(32, 3.0)
    warn_of_symmetry(volume, "C1", 3.0, 20.0)
    warn_of_symmetry(symmetrise_map(volume, symmetry_operators("C4")), "C4", 3.0, 20.0)
    assert not caplog.text
    warn_of_symmetry(symmetrise_map(volume, symmetry_operators("C4")), "D4", 3.0, 20.0)
    assert "turned by symmetry D4 by" in caplog.text and "set symmetry to C1" in caplog.text
