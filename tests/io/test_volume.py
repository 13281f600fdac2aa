# SPDX-License-Identifier: GPL-3.0-or-later
"""Maps come as cubes with axes z, y, x, whatever the order in the file."""

from __future__ import annotations

import mrcfile
import numpy as np
import pytest

from cryoralib_plugin.io.mrc import write_volume
from cryoralib_plugin.io.volume import read_volume


@pytest.fixture
def volume():
    return np.random.default_rng(0).normal(size=(6, 6, 6)).astype(np.float32)


def test_a_map_is_read_as_written(tmp_path, volume):
    write_volume(tmp_path / "a.mrc", volume, pixel_size_angst=1.25)
    found, voxel_size = read_volume(tmp_path / "a.mrc")
    np.testing.assert_array_equal(found, volume)
    assert voxel_size == 1.25


@pytest.mark.parametrize("axes", [(1, 2, 3), (3, 2, 1), (2, 1, 3), (2, 3, 1), (3, 1, 2)])
def test_axes_are_put_in_order(tmp_path, volume, axes):
    # Column, row and section of the file run along these of x (1), y (2) and z (3).
    of_xyz = {1: 2, 2: 1, 3: 0}
    stored = volume.transpose([of_xyz[axis] for axis in axes[::-1]])
    with mrcfile.new(tmp_path / "a.mrc", data=np.ascontiguousarray(stored)) as file:
        file.header.mapc, file.header.mapr, file.header.maps = axes
        file.header.nxstart = -3
    np.testing.assert_array_equal(read_volume(tmp_path / "a.mrc")[0], volume)


def test_what_is_no_map_is_refused(tmp_path, volume):
    path = tmp_path / "a.mrc"
    write_volume(path, volume[:4], pixel_size_angst=1.0)
    with pytest.raises(ValueError, match="must be a cube, but .* has 6 x 6 x 4 voxels"):
        read_volume(path)
    write_volume(path, np.where(volume > 1, np.nan, volume), pixel_size_angst=1.0)
    with pytest.raises(ValueError, match="voxels of map .* are not finite"):
        read_volume(path)
    write_volume(path, np.full((4, 4, 4), 2.0), pixel_size_angst=1.0)
    with pytest.raises(ValueError, match="is 2 in every voxel"):
        read_volume(path)
    path.write_bytes(b"\x89HDF\r\n\x1a\n")
    with pytest.raises(ValueError, match="convert it to MRC first"):
        read_volume(path)
    with pytest.raises(FileNotFoundError, match="map .*b.mrc does not exist"):
        read_volume(tmp_path / "b.mrc")
