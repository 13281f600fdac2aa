# SPDX-License-Identifier: GPL-3.0-or-later
"""Rounds of a 3D run: whole or absent, read back to the last bit, support points not piling up."""

from __future__ import annotations

import mrcfile
import numpy as np
import pandas as pd
import pytest

from cryoralib_plugin.contract.results import FSC_COLUMNS, NOISE_COLUMNS, ResultPaths
from cryoralib_plugin.io.round_files import Checkpoint3D, RoundFiles

BOX, N_CLASSES = 6, 2


def checkpoint_of(iteration, **changed):
    rng = np.random.default_rng(iteration)

    def maps(*leading):
        return rng.normal(size=(*leading, BOX, BOX, BOX)).astype(np.float32)

    fields = {
        "iteration": iteration,
        "pixel_size_angst": 2.5,
        "blocks": {"particles": pd.DataFrame({"rlnAngleRot": rng.normal(size=5)})},
        "unfiltered_halves": maps(N_CLASSES, 2),
        "merged": maps(N_CLASSES),
        "masks": rng.random((N_CLASSES, BOX, BOX, BOX)).astype(np.float32),
        "fsc": pd.DataFrame([[1, 0] + [1 / 3] * 6], columns=list(FSC_COLUMNS)),
        "noise": pd.DataFrame([[1, 1, 0, 1 / 7]], columns=list(NOISE_COLUMNS)),
        "model": {"iteration": iteration, "resolution_angst": np.inf},
        "references": maps(N_CLASSES, 2),
        "arrays": {"/": {"rotations": rng.normal(size=(5, 4)).astype(np.float32)}},
    }
    return Checkpoint3D(**{**fields, **changed})


@pytest.fixture
def files(tmp_path):
    files = RoundFiles(ResultPaths(tmp_path / "run"))
    files.prepare()
    return files


def test_a_round_comes_back_to_the_last_bit(files):
    written = checkpoint_of(1)
    files.write_round(written)
    saved = files.newest_round()
    assert saved.iteration == 1
    np.testing.assert_array_equal(saved.read_references(N_CLASSES), written.references)
    rotations = saved.read_arrays("/", rows=np.array([1, 2, 3]))["rotations"]
    np.testing.assert_array_equal(rotations, written.arrays["/"]["rotations"][1:4])
    assert saved.read_model()["resolution_angst"] is None
    assert saved.read_fsc()["fsc_used"].tolist() == [1 / 3]


def test_maps_lie_under_their_names_with_the_voxel_size(files):
    written = checkpoint_of(3)
    files.write_round(written)
    paths = files.paths
    expected = {
        paths.merged_mrc(3, 2): written.merged[1],
        paths.masked_mrc(3, 2): written.merged[1] * written.masks[1],
        paths.mask_mrc(3, 1): written.masks[0],
        paths.unfiltered_half_mrc(3, 2, 1): written.unfiltered_halves[0, 1],
        paths.reference_mrc(3, 1, 2): written.references[1, 0],
    }
    for path, volume in expected.items():
        with mrcfile.open(path) as file:
            np.testing.assert_array_equal(file.data, volume)
            assert file.is_volume() and file.voxel_size.x == pytest.approx(2.5)


def test_support_points_of_the_two_newest_rounds_are_kept(files):
    for iteration in range(1, 5):
        files.write_round(checkpoint_of(iteration))
    kept = [it for it in range(1, 5) if files.paths.cloud_h5(it).is_file()]
    assert kept == [3, 4]
    # The older rounds are still whole: nothing they need is gone.
    assert files.paths.iterations() == [1, 2, 3, 4]
    for iteration in (4, 3):
        files.paths.manifest_json(iteration).unlink()
    with pytest.raises(ValueError, match="cannot be continued from round 2: its support points"):
        files.newest_round()


def test_a_damaged_round_is_passed_over(files, caplog):
    for iteration in (1, 2):
        files.write_round(checkpoint_of(iteration))
    path = files.paths.reference_mrc(2, 1, 1)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert files.newest_round().iteration == 1
    assert f"the content of {path.name} has changed" in caplog.text


def test_what_cannot_be_continued_has_no_references(files):
    files.write_round(checkpoint_of(1, references=None, arrays={}))
    assert not files.paths.reference_mrc(1, 1, 1).exists()
    assert files.last_whole_iteration() == 1


def test_the_room_a_round_takes_is_known_before(files):
    checkpoint = checkpoint_of(1)
    files.write_round(checkpoint)
    taken = sum(path.stat().st_size for path in files.paths.run_dir.glob("*.mrc"))
    headers = 1024 * 14
    assert 0 <= checkpoint.expected_bytes - (taken - headers) < 1000
