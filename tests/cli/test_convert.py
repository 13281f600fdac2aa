# SPDX-License-Identifier: GPL-3.0-or-later
"""Particle files between RELION and THUNDER, by the program `convert`."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cryoralib_plugin import cli
from cryoralib_plugin.geometry.rotations import angle_between
from cryoralib_plugin.io.mrc import write_stack
from cryoralib_plugin.io.thu import read_thu
from cryoralib_plugin.particles.table import ParticleTable


@pytest.fixture
def star(tmp_path):
    rng = np.random.default_rng(0)
    write_stack(tmp_path / "a.mrcs", rng.normal(size=(6, 8, 8)), pixel_size_angst=0.0)
    particles = pd.DataFrame(
        {
            "rlnImageName": [f"{i + 1}@{tmp_path / 'a.mrcs'}" for i in range(6)],
            "rlnDefocusU": rng.uniform(8000, 20000, 6),
            "rlnVoltage": 300.0,
            "rlnSphericalAberration": 2.7,
            "rlnAmplitudeContrast": 0.1,
            "rlnImagePixelSize": 1.5,
            "rlnAngleRot": rng.uniform(-180, 180, 6),
            "rlnAngleTilt": rng.uniform(0, 180, 6),
            "rlnAnglePsi": rng.uniform(-180, 180, 6),
            "rlnOriginXAngst": rng.normal(size=6),
            "rlnRandomSubset": [1, 2] * 3,
        }
    )
    ParticleTable.from_blocks({"particles": particles}).write(tmp_path / "a.star")
    return tmp_path / "a.star"


def test_there_and_back_again(star, tmp_path, capsys):
    assert cli.main(["convert", str(star), str(tmp_path / "b.thu")]) == 0
    said = capsys.readouterr().err
    assert ".thu files have no half sets: those of" in said and "written:" in said
    assert len(read_thu(tmp_path / "b.thu")) == 6
    back = ["convert", str(tmp_path / "b.thu"), str(tmp_path / "c.star"), "1.5"]
    assert cli.main(back) == 0
    before, after = ParticleTable.read(star), ParticleTable.read(tmp_path / "c.star")
    assert after.image_names.tolist() == before.image_names.tolist()
    assert angle_between(after.poses3d()[0], before.poses3d()[0]).max() < 1e-6
    np.testing.assert_allclose(after.poses3d()[1], before.poses3d()[1], atol=1e-9)
    np.testing.assert_allclose(after.ctf().defocus_v_angst, before.ctf().defocus_u_angst)


def test_what_cannot_be_converted_is_said(star, tmp_path, capsys):
    for words, said in (
        (["a.star"], "usage: python -m cryoralib_plugin convert IN OUT"),
        (["a.star", "b.csv"], "must end in .star or .thu, but is b.csv"),
        (["a.star", str(star)], "exists already: choose another name"),
        ([str(star), str(tmp_path / "d.thu"), "wide"], "must be a number above 0, not 'wide'"),
        ([str(star.parent / "a.mrcs"), str(tmp_path / "d.thu"), "2"], ".thu file needs rlnDefocus"),
    ):
        assert cli.main(["convert", *words]) == 1
        assert said in capsys.readouterr().err
    assert not (tmp_path / "d.thu").exists()
