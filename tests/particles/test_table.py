# SPDX-License-Identifier: GPL-3.0-or-later
"""The particle table: RELION's three styles, poses in and out, halves, ids, optics."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cryoralib_plugin.geometry.rigid2d import Poses2D
from cryoralib_plugin.particles.checks import check_ctf
from cryoralib_plugin.particles.table import ParticleTable


def star31(n=6, **columns):
    optics = {
        "rlnOpticsGroup": [1, 2],
        "rlnOpticsGroupName": ["a", "b"],
        "rlnVoltage": [300.0, 200.0],
        "rlnSphericalAberration": [2.7, 2.0],
        "rlnAmplitudeContrast": [0.1, 0.07],
        "rlnImagePixelSize": [1.5, 1.5],
    }
    particles = {
        "rlnImageName": [f"{i + 1:06d}@a.mrcs" for i in range(n)],
        "rlnDefocusU": np.linspace(10000, 20000, n),
        "rlnDefocusV": np.linspace(9000, 19000, n),
        "rlnDefocusAngle": np.linspace(0, 90, n),
        "rlnOpticsGroup": [1, 2] * (n // 2),
        **columns,
    }
    optics.update({k: v for k, v in columns.items() if k in optics and k != "rlnOpticsGroup"})
    return {
        "optics": pd.DataFrame(optics),
        "particles": pd.DataFrame(
            {k: v for k, v in particles.items() if k not in optics or k == "rlnOpticsGroup"}
        ),
    }


def table31(n=6, **columns):
    return ParticleTable.from_blocks(star31(n, **columns), "set.star")


def test_poses_are_relions_columns_divided_by_the_pixel_size():
    table = table31(
        rlnAnglePsi=np.arange(6) * 30.0,
        rlnOriginXAngst=np.arange(6) * 3.0,
        rlnOriginYAngst=-np.arange(6) * 1.5,
        rlnIsFlip=[0, 1] * 3,
    )
    poses = table.poses()
    np.testing.assert_array_equal(poses.psi_deg, np.arange(6) * 30.0)
    np.testing.assert_array_equal(poses.shift_px, np.c_[np.arange(6) * 2.0, -np.arange(6)])
    np.testing.assert_array_equal(poses.mirror, [False, True] * 3)
    rows = np.array([4, 1])
    np.testing.assert_array_equal(table.poses(rows).psi_deg, [120, 30])
    np.testing.assert_array_equal(table.at_pixel_size(3.0).poses(rows).shift_px[:, 0], [4, 1])


def test_poses_out_and_in_again_are_the_same(tmp_path):
    rng = np.random.default_rng(0)
    poses = Poses2D(rng.uniform(-180, 180, 6), rng.normal(size=(6, 2)), rng.random(6) < 0.5)
    table = table31().at_pixel_size(2.1)
    table = table.with_poses(poses, class_numbers=np.arange(6), scores=rng.random(6))
    table.write(tmp_path / "a.star")
    back = ParticleTable.read(tmp_path / "a.star", exact=True).at_pixel_size(2.1)
    np.testing.assert_array_equal(back.poses().psi_deg, poses.psi_deg)
    # What the running program takes from its table is what a continued one reads.
    np.testing.assert_array_equal(back.poses().shift_px, table.poses().shift_px)
    np.testing.assert_allclose(back.poses().shift_px, poses.shift_px, rtol=1e-15)
    np.testing.assert_array_equal(back.poses().mirror, poses.mirror)
    np.testing.assert_array_equal(back.class_numbers, np.arange(6))
    assert (
        back.particles["rlnParticleFigureOfMerit"].tolist()
        == table.particles["rlnParticleFigureOfMerit"].tolist()
    )


@pytest.mark.parametrize("pixel_size", [1.3, 0.8266, 2.806, 1.06, 5e4 / 38168])
def test_shifts_pass_through_angstrom_to_the_last_bit(pixel_size):
    table = table31(20000, rlnImagePixelSize=[pixel_size] * 2)
    rng = np.random.default_rng(1)
    found = rng.normal(size=(20000, 2)) * 10.0 ** rng.integers(-4, 2, (20000, 1))
    shift = found * pixel_size / pixel_size
    poses = Poses2D(np.zeros(20000), shift, np.zeros(20000, bool))
    np.testing.assert_array_equal(table.with_poses(poses).poses().shift_px, shift)


def test_some_rows_are_updated_and_the_original_is_not():
    table = table31(rlnAnglePsi=np.arange(6))
    rows = np.array([5, 0])
    new = table.with_poses(
        Poses2D(np.array([0.5, 1.5]), np.ones((2, 2)), np.array([True, False])),
        rows=rows,
        class_numbers=np.array([7, 8]),
    )
    np.testing.assert_array_equal(new.poses().psi_deg, [1.5, 1, 2, 3, 4, 0.5])
    np.testing.assert_array_equal(new.class_numbers, [8, 0, 0, 0, 0, 7])
    np.testing.assert_array_equal(new.poses().mirror, [0, 0, 0, 0, 0, 1])
    np.testing.assert_array_equal(table.poses().psi_deg, np.arange(6))
    assert "rlnClassNumber" not in table.particles


def test_old_styles_become_optics_groups():
    old = pd.DataFrame(
        {
            "rlnImageName": ["1@a", "2@a", "3@a"],
            "rlnVoltage": [300.0, 200.0, 300.0],
            "rlnSphericalAberration": 2.7,
            "rlnAmplitudeContrast": 0.1,
            "rlnDefocusU": 15000.0,
            "rlnDefocusV": 14000.0,
            "rlnDefocusAngle": 5.0,
            "rlnMagnification": 38168,
            "rlnDetectorPixelSize": 5,
            "rlnOriginX": [1.0, 2.0, -3.0],
            "rlnOriginY": 0.5,
        }
    )
    table = ParticleTable.from_blocks({"": old})
    pixel_size = 5e4 / 38168
    assert table.pixel_size_angst == pytest.approx(pixel_size)
    assert table.particles["rlnOpticsGroup"].tolist() == [1, 2, 1]
    assert table.optics["rlnVoltage"].tolist() == [300, 200]
    np.testing.assert_allclose(table.poses().shift_px[:, 0], [1, 2, -3])
    np.testing.assert_allclose(table.particles["rlnOriginYAngst"], 0.5 * pixel_size)
    np.testing.assert_array_equal(table.ctf().voltage_kv, [300, 200, 300])
    for gone in ("rlnOriginX", "rlnMagnification", "rlnVoltage"):
        assert gone not in table.particles


def test_ctf_joins_rows_and_groups():
    ctf = table31(rlnPhaseShift=np.full(6, 90.0)).ctf(np.array([3, 0]))
    np.testing.assert_array_equal(ctf.voltage_kv, [200, 300])
    np.testing.assert_array_equal(ctf.cs_mm, [2.0, 2.7])
    np.testing.assert_array_equal(ctf.defocus_u_angst, [16000, 10000])
    np.testing.assert_array_equal(ctf.phase_shift_deg, [90, 90])


def test_halves_belong_to_the_particle_not_to_the_row():
    ids = np.array([12, 7, 3, 40, 5, 8])
    table = table31(rlnImageId=ids)
    np.testing.assert_array_equal(table.half_sets(), ids % 2)
    chosen = np.array([4, 0, 3, 1])
    np.testing.assert_array_equal(table.select(chosen).half_sets(), ids[chosen] % 2)
    np.testing.assert_array_equal(table31().image_ids, np.arange(1, 7))


def test_halves_of_the_file_are_kept_and_one_parity_is_no_half(caplog):
    table = table31(rlnRandomSubset=[1, 1, 2, 2, 1, 2])
    np.testing.assert_array_equal(table.half_sets(), [0, 0, 1, 1, 0, 1])
    table = table31(rlnRandomSubset=[1] * 6)
    np.testing.assert_array_equal(np.bincount(table.half_sets()), [3, 3])
    assert "does not divide the particles into halves" in caplog.text
    even = table31(rlnImageId=np.array([10, 2, 4, 6, 8, 12]))
    np.testing.assert_array_equal(even.half_sets(), [0, 0, 1, 0, 1, 1])
    assert even.with_half_sets().particles["rlnRandomSubset"].tolist() == [1, 1, 2, 1, 2, 2]


@pytest.mark.parametrize(
    "columns, message",
    [
        ({"rlnImageId": [1, 2, 3, 3, 5, 6]}, "rlnImageId 3 stands in rows 3 and 4 of set.star"),
        ({"rlnImageId": [1, 2.5, 3, 4, 5, 6]}, "rlnImageId of set.star must hold whole numbers"),
        ({"rlnOpticsGroup": [1, 2, 9, 1, 1, 1]}, "row 3 of set.star is of optics group 9"),
        ({"rlnImagePixelSize": [1.5, 3.0]}, "one pixel size, but the optics groups have 1.5, 3 A"),
        ({"rlnImagePixelSize": [1.5, 0.0]}, "pixel sizes must be positive"),
    ],
)
def test_contradictions_are_refused_in_words(columns, message):
    with pytest.raises(ValueError, match=message):
        table31(**columns)


def test_a_file_without_particles_is_refused_in_words():
    with pytest.raises(ValueError, match="holds zero particles"):
        ParticleTable.from_blocks({"particles": star31()["particles"].iloc[:0]}, "set.star")
    with pytest.raises(ValueError, match="no table with the column rlnImageName"):
        ParticleTable.from_blocks({"micrographs": pd.DataFrame({"rlnMicrographName": ["a"]})})
    with pytest.raises(ValueError, match="lack the column rlnOpticsGroup: nobody knows"):
        blocks = star31()
        blocks["particles"] = blocks["particles"].drop(columns="rlnOpticsGroup")
        ParticleTable.from_blocks(blocks)


def test_poses_that_are_no_numbers_are_refused_in_words():
    table = table31(rlnAnglePsi=[0, 1, np.nan, 3, 4, 5])
    with pytest.raises(ValueError, match="rlnAnglePsi must hold finite numbers, .* row 3"):
        table.poses()
    unknown = ParticleTable.from_image_names(["1@a", "2@a"])
    with pytest.raises(ValueError, match="the pixel size of the particles is not known"):
        unknown.poses()


@pytest.mark.parametrize(
    "columns, message",
    [
        ({"rlnVoltage": [300000.0, 300000.0]}, "must be in kV, but is 300000: it seems to be in V"),
        ({"rlnDefocusU": [1e4, 1e4, -2e4, 1e4, 1e4, 1e4]}, "rlnDefocusU must be positive .* row 3"),
        ({"rlnDefocusU": np.zeros(6)}, "6 of 6 particles have other values"),
        (
            {"rlnDefocusV": [1e4, np.nan, 1e4, 1e4, 1e4, 1e4]},
            "rlnDefocusV must be positive .* row 2",
        ),
        ({"rlnAmplitudeContrast": [0.1, 7.0]}, "rlnAmplitudeContrast must be between 0 and 1"),
        ({"rlnSphericalAberration": [2.7, -1.0]}, "rlnSphericalAberration must be not negative"),
    ],
)
def test_an_implausible_ctf_is_refused_when_asked_for(columns, message):
    table = table31(**columns)
    check_ctf(table, "none")
    for correction in ("phase_flip", "wiener"):
        with pytest.raises(ValueError, match=message):
            check_ctf(table, correction)


def test_a_missing_ctf_is_refused_when_asked_for():
    check_ctf(table31(), "wiener")
    bare = ParticleTable.from_image_names(["1@a"], pixel_size_angst=1.0)
    check_ctf(bare, "none")
    with pytest.raises(ValueError, match="needs rlnDefocusU, rlnVoltage, .* which the particles l"):
        check_ctf(bare, "wiener")


def test_ctf_is_not_corrected_twice():
    blocks = star31()
    blocks["optics"]["rlnCtfDataArePhaseFlipped"] = [1, 0]
    with pytest.raises(ValueError, match="are phase-flipped already"):
        check_ctf(ParticleTable.from_blocks(blocks), "phase_flip")
