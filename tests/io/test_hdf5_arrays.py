# SPDX-License-Identifier: GPL-3.0-or-later
"""Arrays come back as they went, type and last bit, all of them or some rows."""

from __future__ import annotations

import numpy as np
import pytest

from cryoralib_plugin.io.hdf5_arrays import read_arrays, write_arrays


def test_arrays_numbers_and_words_come_back_as_they_went(tmp_path):
    rng = np.random.default_rng(0)
    cloud = {
        "rotations": rng.normal(size=(7, 2, 5, 4)).astype(np.float32),
        "known": rng.random(7) > 0.5,
        "nothing": np.full(7, np.nan),
    }
    state = {"stage": "local", "cutoff_px": 12, "share": 1 / 3, "noise": rng.normal(size=(2, 9))}
    write_arrays(tmp_path / "a.h5", {"/": cloud, "state": state})
    found = read_arrays(tmp_path / "a.h5")
    assert set(found) == set(cloud)
    for name, array in cloud.items():
        assert found[name].dtype == array.dtype
        assert found[name].tobytes() == array.tobytes()
    back = read_arrays(tmp_path / "a.h5", "state")
    assert (back["stage"], back["cutoff_px"], back["share"]) == ("local", 12, 1 / 3)
    assert type(back["cutoff_px"]) is int and back["noise"].tobytes() == state["noise"].tobytes()
    some = read_arrays(tmp_path / "a.h5", rows=np.arange(2, 5))
    np.testing.assert_array_equal(some["rotations"], cloud["rotations"][2:5])
    assert len(read_arrays(tmp_path / "a.h5", rows=np.arange(0))["known"]) == 0


def test_damage_is_named(tmp_path):
    write_arrays(tmp_path / "a.h5", {"/": {"x": np.arange(3)}})
    with pytest.raises(ValueError, match="a.h5 lacks the group state"):
        read_arrays(tmp_path / "a.h5", "state")
    (tmp_path / "b.h5").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="b.h5 cannot be read as HDF5"):
        read_arrays(tmp_path / "b.h5")
