# SPDX-License-Identifier: GPL-3.0-or-later
"""Particle files of THUNDER are opened like any other; optics that cannot be are told in words."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cryoralib_plugin.io.mrc import write_stack
from cryoralib_plugin.io.thu import THU_COLUMNS, write_thu
from cryoralib_plugin.particles.checks import check_optics
from cryoralib_plugin.particles.opening import find_particles, make_source
from cryoralib_plugin.particles.preprocess import Preprocessing
from cryoralib_plugin.particles.table import ParticleTable


def thu_set(folder, pixel_size_angst, n=3):
    images = np.random.default_rng(0).normal(size=(n, 8, 8))
    write_stack(folder / "a.mrcs", images, pixel_size_angst=pixel_size_angst)
    frame = pd.DataFrame({name: np.zeros(n) for name in THU_COLUMNS})
    frame["image_name"] = [f"{i + 1}@a.mrcs" for i in range(n)][::-1]
    frame["micrograph_name"] = "m.mrc"
    frame["translation_x_px"] = [2.0, 4.0, 6.0]
    for name, value in (("voltage_v", 3e5), ("defocus_u_angst", 1e4), ("defocus_v_angst", 1e4)):
        frame[name] = value
    write_thu(folder / "a.thu", frame)
    return folder / "a.thu", images


def test_a_thu_file_leads_to_its_images(tmp_path):
    path, images = thu_set(tmp_path, 1.5)
    table, catalogue = find_particles(path)
    assert table.image_pixel_size_angst == 1.5
    np.testing.assert_allclose(table.particles["rlnOriginXAngst"], [-3.0, -6.0, -9.0])
    table, source = make_source(table, catalogue, Preprocessing(downsample_box_px=4))
    rows, found = next(source.batches(np.arange(3), 3))
    whole = make_source(*find_particles(path), Preprocessing())[1]
    np.testing.assert_allclose(next(whole.batches(np.arange(3), 3))[1], images[::-1], rtol=1e-6)
    assert table.pixel_size_angst == 3.0 and found.shape == (3, 4, 4) and rows.tolist() == [0, 1, 2]


def test_a_pixel_size_that_is_given_holds_against_headers(tmp_path, caplog):
    path, _ = thu_set(tmp_path, 1.0)
    table, _ = find_particles(path, pixel_size_angst=2.0)
    assert table.image_pixel_size_angst == 2.0 and not caplog.text
    np.testing.assert_allclose(table.particles["rlnOriginXAngst"], [-4.0, -8.0, -12.0])
    path, _ = thu_set(tmp_path, 0.0)
    assert find_particles(path)[0].image_pixel_size_angst == 1.0
    assert "a.thu does not tell the pixel size: 1 A is assumed" in caplog.text


def test_a_pixel_size_is_not_given_twice(tmp_path):
    path, _ = thu_set(tmp_path, 1.5)
    table, _ = find_particles(path)
    table.write(tmp_path / "a.star")
    with pytest.raises(ValueError, match="pixel_size_angst is 2 A, but .*a.star tells 1.5 A"):
        find_particles(tmp_path / "a.star", pixel_size_angst=2.0)
    assert len(find_particles(tmp_path / "a.star", pixel_size_angst=1.5)[0]) == 3


@pytest.mark.parametrize(
    "column, value, said",
    [
        ("rlnDefocusU", -5000.0, "rlnDefocusU must be positive.* first is row 2 with -5000"),
        ("rlnDefocusU", 1.4, "rlnDefocusU must be in Angstrom, but is 1.4 at most"),
        ("rlnVoltage", 300000.0, "rlnVoltage must be in kV, but is 300000: it seems to be in V"),
        ("rlnSphericalAberration", 2.7e7, "rlnSphericalAberration must be in mm, but is 2.7e"),
        ("rlnAmplitudeContrast", 10.0, "rlnAmplitudeContrast must be between 0 and 1"),
    ],
)
def test_implausible_optics_are_named_with_the_row(column, value, said):
    values = {
        "rlnImageName": [f"{i + 1}@a.mrcs" for i in range(4)],
        "rlnDefocusU": 12000.0,
        "rlnVoltage": 300.0,
        "rlnSphericalAberration": 2.7,
        "rlnAmplitudeContrast": 0.1,
        "rlnImagePixelSize": 1.0,
    }
    good = ParticleTable.from_blocks({"particles": pd.DataFrame(values)})
    check_optics(good, "a refinement needs")
    frame = pd.DataFrame(values)
    frame.loc[frame.index if value == 1.4 else [1], column] = value
    table = ParticleTable.from_blocks({"particles": frame})
    with pytest.raises(ValueError, match=said) as raised:
        check_optics(table, "a refinement needs")
    assert "ctf_correction" not in str(raised.value)


def test_lacking_optics_are_named_for_who_needs_them():
    bare = ParticleTable.from_image_names(["1@a"], pixel_size_angst=1.0)
    with pytest.raises(ValueError, match="a refinement needs rlnDefocusU, .*: estimate the CTF f"):
        check_optics(bare, "a refinement needs")
