# SPDX-License-Identifier: GPL-3.0-or-later
"""STAR files: RELION's styles, exactness, damage; the starfile package is the arbiter."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import starfile

from cryoralib_plugin.io.star import read_star, write_star

REAL = [
    "apoferritin_10146_dev.star",
    "aspire_sample_relion30.star",
    "empiar_10076_7.star",
    "relion31.star",
]


@pytest.mark.parametrize("name", REAL)
def test_real_files_are_what_starfile_reads(shared_data, name):
    path = shared_data / "real" / name
    ours, theirs = read_star(path), starfile.read(path, always_dict=True)
    assert list(ours) == list(theirs)
    for block, frame in theirs.items():
        assert list(ours[block].columns) == list(frame.columns)
        for column in frame:
            assert ours[block][column].tolist() == frame[column].tolist(), column


def test_written_files_come_back_to_the_last_bit(tmp_path):
    rng = np.random.default_rng(3)
    frame = pd.DataFrame(
        {
            "rlnImageName": [f"{i:06d}@a b.mrcs" if i % 7 else "plain@x" for i in range(500)],
            "rlnAnglePsi": rng.normal(size=500) * 10.0 ** rng.integers(-20, 20, 500),
            "rlnClassNumber": rng.integers(0, 50, 500),
            "rlnMicrographName": ["it's", "a\tb", "#1", ""] * 125,
        }
    )
    write_star(tmp_path / "a.star", {"optics": frame.iloc[:1], "particles": frame})
    blocks = read_star(tmp_path / "a.star", exact=True)
    assert list(blocks) == ["optics", "particles"]
    np.testing.assert_array_equal(blocks["particles"]["rlnAnglePsi"], frame["rlnAnglePsi"])
    np.testing.assert_array_equal(blocks["particles"]["rlnClassNumber"], frame["rlnClassNumber"])
    assert blocks["particles"]["rlnImageName"].tolist() == frame["rlnImageName"].tolist()


def test_starfile_reads_what_we_write(tmp_path):
    frame = pd.DataFrame({"rlnImageName": ["1@a", "2@a"], "rlnAnglePsi": [1.5, float("nan")]})
    write_star(tmp_path / "a.star", {"optics": frame, "particles": frame, "x": {"rlnY": 3}})
    blocks = starfile.read(tmp_path / "a.star")
    assert blocks["particles"]["rlnImageName"].tolist() == ["1@a", "2@a"]
    assert np.isnan(blocks["particles"]["rlnAnglePsi"][1])
    assert blocks["x"] == {"rlnY": 3}


def test_blocks_comments_pairs_and_windows_line_ends(tmp_path):
    text = (
        "# version 30001\n\ndata_general\n_rlnA 3\n_rlnB 'two words'\n\ndata_empty\n"
        "loop_\n_rlnC #1\n\n# comment\ndata_particles\n\nloop_\n_rlnD #1\n_rlnE #2\n"
        "1 2.5\n# in between\n\n3 4.5\n\n"
    )
    for ending in ("\n", "\r\n"):
        (tmp_path / "a.star").write_bytes(text.replace("\n", ending).encode())
        blocks = read_star(tmp_path / "a.star")
        assert blocks["general"] == {"rlnA": "3", "rlnB": "two words"}
        assert len(blocks["empty"]) == 0 and list(blocks["empty"]) == ["rlnC"]
        assert blocks["particles"].to_dict("list") == {"rlnD": [1, 3], "rlnE": [2.5, 4.5]}


def test_what_is_wrong_is_said(tmp_path):
    path = tmp_path / "a.star"
    with pytest.raises(FileNotFoundError, match=r"STAR file .*a\.star does not exist"):
        read_star(path)
    path.write_text("nothing here\n")
    with pytest.raises(ValueError, match="is not a STAR file"):
        read_star(path)
    path.write_text("data_\nloop_\n_a #1\n_b #2\n1 2\n3\n")
    with pytest.raises(ValueError, match="2 column labels but row 2 has fewer values"):
        read_star(path)
    path.write_text("data_\nloop_\n_a #1\n_b #2\n1 2 3\n1 2 3\n")
    with pytest.raises(
        ValueError, match="rows have 3 values: the file is damaged or was cut short"
    ):
        read_star(path)
    path.write_text("data_\nloop_\n_a #1\n_b #2\n1 2\n1 2 3\n")
    with pytest.raises(ValueError, match="block data_ of STAR file .* is damaged"):
        read_star(path)
    path.write_text("data_x\nwords without label\n")
    with pytest.raises(ValueError, match="must hold a loop_ or pairs"):
        read_star(path)
    path.write_text("data_\nloop_\n_a #1\n_b #2\n1 2\n3\n1 2\n")
    with pytest.raises(ValueError, match="row 2 has fewer values"):
        read_star(path)
    path.write_text("data_x\n_a 1\n\ndata_x\n_a 2\n")
    with pytest.raises(ValueError, match="two blocks called data_x"):
        read_star(path)
    with pytest.raises(ValueError, match="cannot hold the word"):
        write_star(path, {"a": pd.DataFrame({"b": ['1" 2']})})
