# SPDX-License-Identifier: GPL-3.0-or-later
"""EMAN2's HDF5 stacks, written here as EMAN2 lays them out."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from cryoralib_plugin.io.stack import read_stack, read_stack_header, read_stack_images


def write_eman2(path, images, keys=None, attributes=None):
    with h5py.File(path, "w") as file:
        group = file.create_group("MDF/images")
        group.attrs["imageid_max"] = len(images) - 1
        for key, image in zip(keys or range(len(images)), images):
            item = group.create_group(str(key))
            item.create_dataset("image", data=image)
            item.attrs["EMAN.apix_x"] = np.float32(1.25)
            for name, value in (attributes or {}).items():
                item.attrs[name] = value


def test_images_and_pixel_size(tmp_path):
    images = np.random.default_rng(0).normal(size=(12, 8, 8)).astype(np.float32)
    write_eman2(tmp_path / "a.hdf", images)
    read, pixel_size = read_stack(tmp_path / "a.hdf")
    # Image 10 comes after image 9, not after image 1.
    np.testing.assert_array_equal(read, images)
    assert pixel_size == 1.25
    out = np.empty((3, 8, 8), np.float32)
    read_stack_images(read_stack_header(tmp_path / "a.hdf"), np.array([11, 0, 5]), out)
    np.testing.assert_array_equal(out, images[[11, 0, 5]])


def test_gaps_in_the_numbering_are_closed(tmp_path):
    images = np.arange(3, dtype=np.float32)[:, None, None] * np.ones((1, 4, 4), np.float32)
    write_eman2(tmp_path / "a.hdf", images, keys=[2, 5, 40])
    np.testing.assert_array_equal(read_stack(tmp_path / "a.hdf")[0], images)


def test_an_erased_image_is_not_a_number(tmp_path):
    images = np.ones((3, 4, 4), np.float32)
    write_eman2(tmp_path / "a.hdf", images)
    with h5py.File(tmp_path / "a.hdf", "r+") as file:
        del file["MDF/images/1/image"]
    read, _ = read_stack(tmp_path / "a.hdf")
    np.testing.assert_array_equal(np.isnan(read).all(axis=(1, 2)), [False, True, False])
    np.testing.assert_array_equal(read[[0, 2]], images[[0, 2]])


def test_compressed_integers_get_their_grey_values_back(tmp_path):
    values = np.random.default_rng(0).uniform(-3, 5, (2, 8, 8))
    values[:, 0, 0], values[:, 0, 1] = -3, 5
    stored = np.rint((values + 3) / 8 * 255).astype(np.uint8)
    write_eman2(
        tmp_path / "a.hdf",
        stored,
        attributes={
            "EMAN.stored_renderbits": 8,
            "EMAN.stored_rendermin": -3.0,
            "EMAN.stored_rendermax": 5.0,
        },
    )
    assert np.abs(read_stack(tmp_path / "a.hdf")[0] - values).max() <= 8 / 255 / 2 + 1e-6


def test_other_hdf5_files_are_refused_in_words(tmp_path):
    with h5py.File(tmp_path / "a.hdf", "w") as file:
        file["data"] = np.zeros(3)
    with pytest.raises(ValueError, match="HDF5 but not an EMAN2 stack"):
        read_stack_header(tmp_path / "a.hdf")
    write_eman2(tmp_path / "v.hdf", np.zeros((1, 4, 4, 4), np.float32))
    with pytest.raises(ValueError, match="volumes are not particles"):
        read_stack_header(tmp_path / "v.hdf")
    write_eman2(tmp_path / "e.hdf", [])
    with pytest.raises(ValueError, match="holds no images"):
        read_stack_header(tmp_path / "e.hdf")


def test_a_truncated_file_is_refused_in_words(tmp_path):
    write_eman2(tmp_path / "a.hdf", np.zeros((50, 16, 16), np.float32))
    whole = (tmp_path / "a.hdf").read_bytes()
    (tmp_path / "a.hdf").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="it is truncated or no HDF5 file"):
        read_stack_header(tmp_path / "a.hdf")


def test_images_of_another_size_are_refused_in_words(tmp_path):
    write_eman2(tmp_path / "a.hdf", [np.zeros((4, 4)), np.zeros((6, 6))])
    with pytest.raises(ValueError, match="image 2 of stack .* has 6 x 6 px, but the first has 4"):
        read_stack(tmp_path / "a.hdf")
