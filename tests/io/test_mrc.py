# SPDX-License-Identifier: GPL-3.0-or-later
"""MRC stacks: every mode, both byte orders, damaged files, arbitrary rows, pixel sizes."""

from __future__ import annotations

import mrcfile
import numpy as np
import pytest

from cryoralib_plugin.io.mrc import (
    MrcStackWriter,
    read_mrc,
    read_mrc_header,
    read_mrc_images,
    write_stack,
    write_volume,
)

MODES = {0: np.int8, 1: np.int16, 2: np.float32, 6: np.uint16, 12: np.float16}


def images_of(dtype, n=5, box=6):
    rng = np.random.default_rng(7)
    low, high = (-100, 100) if np.dtype(dtype).kind != "u" else (0, 60000)
    return rng.integers(low, high, (n, box, box)).astype(dtype)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("byte_order", "<>")
def test_mrcfile_writes_and_we_read(tmp_path, mode, byte_order):
    images = images_of(MODES[mode])
    path = tmp_path / "a.mrcs"
    with mrcfile.new(path) as mrc:
        mrc.set_data(images.astype(images.dtype.newbyteorder(byte_order)))
        mrc.set_image_stack()
        mrc.voxel_size = 1.7
        assert int(mrc.header.mode) == mode
    read, pixel_size = read_mrc(path)
    np.testing.assert_array_equal(read, images.astype(np.float32))
    assert pixel_size == pytest.approx(1.7, rel=1e-6)
    assert read_mrc_header(path).notes == ()


def test_we_write_and_mrcfile_validates(tmp_path):
    images = np.random.default_rng(1).normal(size=(4, 8, 8)).astype(np.float32)
    write_stack(tmp_path / "a.mrcs", images, pixel_size_angst=2.5)
    assert mrcfile.validate(tmp_path / "a.mrcs")
    with mrcfile.open(tmp_path / "a.mrcs") as mrc:
        np.testing.assert_array_equal(mrc.data, images)
        assert mrc.is_image_stack()
        assert float(mrc.voxel_size.x) == pytest.approx(2.5)


def test_volume_is_a_volume(tmp_path):
    volume = np.random.default_rng(1).normal(size=(6, 6, 6)).astype(np.float32)
    write_volume(tmp_path / "v.mrc", volume, pixel_size_angst=3.0)
    assert mrcfile.validate(tmp_path / "v.mrc")
    with mrcfile.open(tmp_path / "v.mrc") as mrc:
        assert mrc.is_volume()
        assert float(mrc.voxel_size.z) == pytest.approx(3.0)


def test_a_stack_of_one_image_and_appending(tmp_path):
    images = np.random.default_rng(2).normal(size=(5, 4, 4)).astype(np.float32)
    with MrcStackWriter(tmp_path / "a.mrcs", pixel_size_angst=1.0) as writer:
        writer.append(images[0])
        writer.append(images[1:])
    np.testing.assert_array_equal(read_mrc(tmp_path / "a.mrcs")[0], images)


def test_any_rows_in_any_order(tmp_path):
    images = images_of(np.int16, n=20)
    write_stack(tmp_path / "a.mrcs", images, pixel_size_angst=1.0)
    header = read_mrc_header(tmp_path / "a.mrcs")
    for rows in ([3], [0, 1, 2], [19, 0, 7, 8, 9, 7], []):
        out = np.empty((len(rows), 6, 6), np.float32)
        read_mrc_images(header, np.array(rows, int), out)
        np.testing.assert_array_equal(out, images[rows].astype(np.float32))


def test_extended_header_is_passed_over(tmp_path):
    images = images_of(np.float32)
    with mrcfile.new(tmp_path / "a.mrcs") as mrc:
        mrc.set_data(images)
        mrc.set_extended_header(np.zeros(100, "V8"))
    np.testing.assert_array_equal(read_mrc(tmp_path / "a.mrcs")[0], images)


def test_no_map_word_and_no_stamp_is_read_with_a_warning(tmp_path, caplog):
    images = images_of(np.float32)
    for byte_order in "<>":
        path = tmp_path / "a.mrcs"
        with mrcfile.new(path, overwrite=True) as mrc:
            mrc.set_data(images.astype(images.dtype.newbyteorder(byte_order)))
        raw = bytearray(path.read_bytes())
        raw[208:216] = bytes(8)
        path.write_bytes(raw)
        read, _ = read_mrc(path)
        np.testing.assert_array_equal(read, images)
    assert "no MAP word" in caplog.text
    assert "no machine stamp" in caplog.text


def test_imod_bytes_are_unsigned(tmp_path):
    images = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    path = tmp_path / "a.mrcs"
    write_stack(path, images.astype(np.float32), pixel_size_angst=1.0)
    raw = bytearray(path.read_bytes()[:1024] + images.tobytes())
    raw[12:16] = bytes(4)
    path.write_bytes(raw)
    np.testing.assert_array_equal(read_mrc(path)[0], images.astype(np.int8))
    raw[152:160] = np.array([1146047817, 0], "<i4").tobytes()
    path.write_bytes(raw)
    np.testing.assert_array_equal(read_mrc(path)[0], images)


def test_truncated_stack_is_refused_before_pixels_are_read(tmp_path):
    write_stack(tmp_path / "a.mrcs", images_of(np.float32), pixel_size_angst=1.0)
    whole = (tmp_path / "a.mrcs").read_bytes()
    (tmp_path / "a.mrcs").write_bytes(whole[:-1])
    with pytest.raises(ValueError, match=r"truncated: its header announces 5 images of 6 x 6 px"):
        read_mrc_header(tmp_path / "a.mrcs")
    with pytest.raises(ValueError, match=r"\(4 whole images\): copy it again"):
        read_mrc_header(tmp_path / "a.mrcs")
    (tmp_path / "a.mrcs").write_bytes(whole[:500])
    with pytest.raises(ValueError, match="too few for an MRC header"):
        read_mrc_header(tmp_path / "a.mrcs")


def test_what_is_no_stack_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"b\.mrcs does not exist"):
        read_mrc_header(tmp_path / "b.mrcs")
    (tmp_path / "t.mrcs").write_text("text " * 1000)
    with pytest.raises(ValueError, match="is not an MRC file"):
        read_mrc_header(tmp_path / "t.mrcs")
    with mrcfile.new(tmp_path / "c.mrcs") as mrc:
        mrc.set_data(np.zeros((2, 4, 4), np.complex64))
    with pytest.raises(ValueError, match="MRC mode 4; particles must be of mode 0, 1, 2, 6 or 12"):
        read_mrc_header(tmp_path / "c.mrcs")


def test_an_unfinished_stack_is_not_a_stack(tmp_path):
    with pytest.raises(ValueError, match="at least one image"):
        with MrcStackWriter(tmp_path / "a.mrcs", pixel_size_angst=1.0):
            pass
    with pytest.raises(ValueError, match="must have one shape"):
        with MrcStackWriter(tmp_path / "a.mrcs", pixel_size_angst=1.0) as writer:
            writer.append(np.zeros((4, 4)))
            writer.append(np.zeros((5, 5)))
    with pytest.raises(ValueError, match="is not an MRC file"):
        read_mrc_header(tmp_path / "a.mrcs")


@pytest.mark.parametrize(
    "name", ["apoferritin_10146_dev.mrcs", "empiar_10076_7.mrc", "relion31.mrcs"]
)
def test_real_stacks_are_what_mrcfile_reads(shared_data, name):
    path = shared_data / "real" / name
    with mrcfile.open(path, permissive=True) as mrc:
        expected = np.array(mrc.data[:3], np.float32)
    out = np.empty_like(expected)
    read_mrc_images(read_mrc_header(path), np.arange(3), out)
    np.testing.assert_array_equal(out, expected)
