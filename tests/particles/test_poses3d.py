# SPDX-License-Identifier: GPL-3.0-or-later
"""Poses in space: RELION's columns and THUNDER's files say the same about one particle."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cryoralib_plugin.geometry.rotations import angle_between, from_euler, to_matrices
from cryoralib_plugin.io.thu import read_thu, write_thu
from cryoralib_plugin.particles.table import ParticleTable
from cryoralib_plugin.particles.thunder import table_from_thu, thu_from_table


def table_of(n=8, **columns):
    rng = np.random.default_rng(1)
    particles = {
        "rlnImageName": [f"{i + 1:06d}@a.mrcs" for i in range(n)],
        "rlnMicrographName": ["m.mrc"] * n,
        "rlnCoordinateX": rng.uniform(0, 4000, n),
        "rlnVoltage": 300.0,
        "rlnSphericalAberration": 2.7,
        "rlnAmplitudeContrast": 0.1,
        "rlnImagePixelSize": 1.5,
        "rlnDefocusU": rng.uniform(8000, 20000, n),
        "rlnDefocusV": rng.uniform(8000, 20000, n),
        "rlnDefocusAngle": rng.uniform(-90, 90, n),
        "rlnPhaseShift": rng.uniform(0, 90, n),
        "rlnAngleRot": rng.uniform(-180, 180, n),
        "rlnAngleTilt": rng.uniform(0, 180, n),
        "rlnAnglePsi": rng.uniform(-180, 180, n),
        "rlnOriginXAngst": rng.normal(size=n),
        "rlnOriginYAngst": rng.normal(size=n),
        **columns,
    }
    particles = {name: values for name, values in particles.items() if values is not None}
    return ParticleTable.from_blocks({"particles": pd.DataFrame(particles)})


def test_rotations_and_shifts_are_those_of_the_columns():
    table = table_of()
    rotations, shift_px, known = table.poses3d()
    frame = table.particles
    np.testing.assert_array_equal(
        rotations, from_euler(*frame[["rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"]].to_numpy().T)
    )
    np.testing.assert_array_equal(shift_px[:, 1], frame["rlnOriginYAngst"] / 1.5)
    assert known.all()
    rows = np.array([5, 2])
    np.testing.assert_array_equal(table.at_pixel_size(3.0).poses3d(rows)[1], shift_px[rows] / 2)


def test_poses_are_read_back_as_written():
    rng = np.random.default_rng(3)
    rotations = rng.normal(size=(8, 4))
    rotations /= np.linalg.norm(rotations, axis=1, keepdims=True)
    shift_px = rng.normal(size=(8, 2))
    written = table_of().with_poses3d(rotations, shift_px)
    found, shifts, known = written.poses3d()
    assert known.all() and angle_between(found, rotations).max() < 1e-9
    np.testing.assert_allclose(shifts, shift_px, rtol=1e-15)
    some = table_of().with_poses3d(rotations[:2], shift_px[:2], rows=np.array([3, 6]))
    changed = angle_between(some.poses3d()[0], table_of().poses3d()[0]) > 1e-9
    assert changed.tolist() == [i in (3, 6) for i in range(8)]


def test_a_particle_without_angles_has_no_pose():
    rot = np.linspace(10, 80, 8)
    rot[[1, 4]] = np.nan
    rotations, shift_px, known = table_of(rlnAngleRot=rot).poses3d()
    assert np.flatnonzero(~known).tolist() == [1, 4]
    np.testing.assert_array_equal(rotations[~known], [[1, 0, 0, 0]] * 2)
    np.testing.assert_array_equal(shift_px[~known], 0)


@pytest.mark.parametrize(
    "columns",
    [
        {"rlnAngleRot": None, "rlnAngleTilt": None, "rlnAnglePsi": None},
        {"rlnAngleTilt": None},
        {"rlnAngleRot": 0.0, "rlnAngleTilt": 0.0},
    ],
)
def test_files_of_extraction_and_of_2d_classification_have_no_poses(columns):
    table = table_of(**columns)
    assert not table.poses3d()[2].any()
    # A part of a set knows what the whole set is.
    part = table_of(rlnAngleRot=[0.0] * 7 + [5.0], rlnAngleTilt=0.0)
    assert part.poses3d(np.array([0, 1]))[2].all()


def test_thunder_and_relion_say_the_same(tmp_path):
    table = table_of(rlnClassNumber=[1, 2] * 4, cryoralibAngularStdDeg=np.linspace(0.5, 3, 8))
    frame = thu_from_table(table)
    # Section 6.3 of THUNDER's reference: V, radians, Angstrom, content shift, classes from 0.
    assert frame["voltage_v"].tolist() == [300000.0] * 8
    np.testing.assert_allclose(frame["cs_angst"], 2.7e7)
    np.testing.assert_allclose(frame["translation_x_px"], -table.particles["rlnOriginXAngst"] / 1.5)
    assert frame["class_index"].tolist() == [0, 1] * 4
    quaternions = frame[[f"quaternion_{axis}" for axis in "wxyz"]].to_numpy()
    np.testing.assert_allclose(
        to_matrices(quaternions), to_matrices(table.poses3d()[0]), atol=1e-12
    )
    np.testing.assert_allclose(2 * np.sqrt(frame["k3"]), np.deg2rad(np.linspace(0.5, 3, 8)))
    write_thu(tmp_path / "a.thu", frame)
    again = table_from_thu(read_thu(tmp_path / "a.thu"), 1.5)
    assert angle_between(again.poses3d()[0], table.poses3d()[0]).max() < 1e-9
    for name in table.particles:
        if table.particles[name].dtype == np.float64 and "Angle" not in name:
            np.testing.assert_allclose(again.particles[name], table.particles[name], rtol=1e-12)
    np.testing.assert_allclose(
        again.particles["rlnDefocusAngle"], table.particles["rlnDefocusAngle"], rtol=1e-12
    )
    assert again.optics["rlnVoltage"].tolist() == [300.0]
    assert again.image_names.tolist() == table.image_names.tolist()


def test_thunder_tells_deviations_in_pixels_of_the_images():
    table = table_of().with_columns({"cryoralibShiftStdPx": np.full(8, 0.5)})
    halved = table.at_pixel_size(2 * table.image_pixel_size_angst)
    assert thu_from_table(halved)["translation_std_x_px"].tolist() == [1.0] * 8
    assert thu_from_table(table)["translation_std_x_px"].tolist() == [0.5] * 8


def test_a_quaternion_of_zeros_is_no_pose_and_stays_so(shared_data):
    frame = read_thu(shared_data / "oracle" / "thunder_case" / "parts.thu")
    table = table_from_thu(frame, 3.0)
    assert not table.poses3d()[2].any()
    assert not thu_from_table(table)[["quaternion_w", "k1", "score"]].to_numpy().any()


def test_the_defocus_factor_goes_into_both_defoci():
    frame = thu_from_table(table_of())
    changed = table_from_thu(frame.assign(defocus_factor=1.02), 1.5).ctf()
    before = table_of().ctf()
    np.testing.assert_allclose(changed.defocus_u_angst, 1.02 * before.defocus_u_angst)
    np.testing.assert_allclose(changed.defocus_v_angst, 1.02 * before.defocus_v_angst)
    again = thu_from_table(table_from_thu(frame.assign(defocus_factor=1.02), 1.5))
    assert (again["defocus_factor"] == 1.0).all()


def test_thunders_result_read_as_a_table_is_as_near_the_truth_as_known(shared_data):
    case = shared_data / "oracle" / "thunder_case"
    table = table_from_thu(read_thu(case / "thunder_poses_final.thu"), 3.0)
    number = [int(name.split("@")[0]) - 1 for name in table.image_names]
    truth = np.load(case / "truth.npy")[number]
    rotations, shift_px, known = table.poses3d()
    assert known.all()
    error = angle_between(rotations, truth[:, :4])
    assert np.median(error) == pytest.approx(1.333, abs=5e-3)
    good = error < 10
    # The truth is where the content lies; ours is what brings it back.
    assert np.median(np.abs(shift_px[good] + truth[good, 4:6])) < 0.15
    spread = table.particles["cryoralibAngularStdDeg"]
    assert 0.4 < np.median(spread) < 0.8
