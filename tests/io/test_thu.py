# SPDX-License-Identifier: GPL-3.0-or-later
"""THUNDER's particle files: 27 columns, comments skipped, damage told in words."""

from __future__ import annotations

import numpy as np
import pytest

from cryoralib_plugin.io.thu import THU_COLUMNS, read_thu, write_thu

LINE = (
    "300000.0 15000.5 14000 0.5 27000000 0.1 0 000003@a.mrcs m.mrc 10.5 20 2 0 "
    "1 0 0 0 1e-5 2e-5 3e-5 0.25 -1.5 0.1 0.2 1.01 0.002 200"
)


def file_of(tmp_path, *lines):
    path = tmp_path / "a.thu"
    path.write_text("".join(line + "\n" for line in lines))
    return path


def test_columns_and_comments(tmp_path):
    frame = read_thu(file_of(tmp_path, "#0:VOLTAGE\tFLOAT", "", "  # 1", LINE, "  " + LINE))
    assert tuple(frame.columns) == THU_COLUMNS and len(frame) == 2
    row = frame.iloc[1]
    assert row["voltage_v"] == 300000 and row["defocus_v_angst"] == 14000
    assert row["image_name"] == "000003@a.mrcs" and row["micrograph_name"] == "m.mrc"
    assert (row["group_number"], row["class_index"], row["score"]) == (2, 0, 200)
    assert frame["group_number"].dtype == np.int64 and frame["score"].dtype == np.float64


def test_every_digit_survives_writing_and_reading(tmp_path):
    frame = read_thu(file_of(tmp_path, *[LINE] * 20))
    rng = np.random.default_rng(0)
    for name in ("defocus_u_angst", "quaternion_w", "k1", "translation_x_px", "score"):
        frame[name] = rng.normal(size=20) * 10.0 ** rng.integers(-9, 9, 20)
    write_thu(tmp_path / "b.thu", frame)
    again = read_thu(tmp_path / "b.thu")
    assert again.to_dict("list") == frame.to_dict("list")
    assert "\t" not in (tmp_path / "b.thu").read_text()


def test_thunders_own_file_is_read(shared_data):
    case = shared_data / "oracle" / "thunder_case"
    start, final = read_thu(case / "parts.thu"), read_thu(case / "thunder_poses_final.thu")
    assert len(start) == len(final) == 800
    assert not start[["quaternion_w", "quaternion_z", "k1"]].to_numpy().any()
    assert (final["voltage_v"] == 300000).all() and (final["cs_angst"] == 27e6).all()
    # Its score is what it says: 1 / (k1 k2 k3)^(1/6).
    k = final[["k1", "k2", "k3"]].to_numpy().prod(axis=1)
    np.testing.assert_allclose(final["score"], k ** (-1 / 6), rtol=1e-3)


@pytest.mark.parametrize(
    "lines, said",
    [
        (["# nothing"], "holds zero particles"),
        ([LINE + " 7"], "must have 27 columns, but in .* it has 28"),
        ([LINE, LINE.rsplit(" ", 2)[0]], "particle 2 has fewer"),
        ([LINE, LINE + " 7"], "is damaged or no .thu file"),
        (
            [LINE.replace("15000.5", "deep")],
            "column 2 .defocus_u_angst. .* particle 1 it is 'deep'",
        ),
        ([LINE.replace(" 2 0 ", " 2.5 0 ")], "group_number.* must be a whole number"),
        ([LINE, LINE.replace("0.25", "nan")], "must be a finite number, but of particle 2"),
    ],
)
def test_damage_is_told_in_words(tmp_path, lines, said):
    with pytest.raises(ValueError, match=said):
        read_thu(file_of(tmp_path, *lines))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="b.thu does not exist"):
        read_thu(tmp_path / "b.thu")


def test_names_with_blanks_are_refused(tmp_path):
    frame = read_thu(file_of(tmp_path, LINE, LINE))
    frame.loc[1, "image_name"] = "000001@my stack.mrcs"
    with pytest.raises(ValueError, match="image name of particle 2, '000001@my stack.mrcs'"):
        write_thu(tmp_path / "b.thu", frame)
