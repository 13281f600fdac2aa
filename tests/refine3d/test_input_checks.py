# SPDX-License-Identifier: GPL-3.0-or-later
"""Bad input of the 3D programs is told in words, all of it at once, before any work."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from cryoralib_plugin.contract._codec import from_flat
from cryoralib_plugin.contract.refine3d import Refine3DConfig
from cryoralib_plugin.io.mrc import write_stack, write_volume
from cryoralib_plugin.particles.opening import find_particles
from cryoralib_plugin.particles.table import ParticleTable
from cryoralib_plugin.refine3d.checks import check_poses, check_refinement, preprocessing_of

N, BOX = 12, 16


def particles(folder, **columns):
    rng = np.random.default_rng(0)
    write_stack(folder / "a.mrcs", rng.normal(size=(N, BOX, BOX)), pixel_size_angst=3.0)
    values = {
        "rlnImageName": [f"{i + 1}@{folder / 'a.mrcs'}" for i in range(N)],
        "rlnDefocusU": 12000.0,
        "rlnVoltage": 300.0,
        "rlnSphericalAberration": 2.7,
        "rlnAmplitudeContrast": 0.1,
        "rlnImagePixelSize": 3.0,
        "rlnAngleRot": rng.uniform(-180, 180, N),
        "rlnAngleTilt": rng.uniform(1, 179, N),
        "rlnAnglePsi": 5.0,
        **columns,
    }
    values = {name: value for name, value in values.items() if value is not None}
    ParticleTable.from_blocks({"particles": pd.DataFrame(values)}).write(folder / "a.star")
    return find_particles(folder / "a.star")


def config_of(folder, **flat):
    return from_flat(Refine3DConfig, {"particles_file": str(folder / "a.star"), **flat})


def refusal(folder, flat, **columns):
    found = particles(folder, **columns)
    with pytest.raises(ValueError) as raised:
        check_refinement(config_of(folder, **flat), *found)
    return str(raised.value)


def test_good_input_passes(tmp_path, caplog):
    check_refinement(config_of(tmp_path, start_from_poses=True), *particles(tmp_path))
    assert not caplog.text


def test_everything_that_is_wrong_is_told_at_once(tmp_path):
    mask = np.linspace(0, 3, BOX**3, dtype=np.float32).reshape((BOX,) * 3)
    write_volume(tmp_path / "mask.mrc", mask, pixel_size_angst=3.0)
    flat = {
        "reference_file": str(tmp_path / "none.mrc"),
        "mask_file": str(tmp_path / "mask.mrc"),
        "map_mask": "given",
        "initial_resolution_angst": 5.0,
        "global_resolution_angst": 5.0,
        "start_from_poses": True,
        "particle_diameter_angst": 60.0,
        "n_classes": 4,
    }
    said = refusal(tmp_path, flat, rlnDefocusU=[-1.0] * N, rlnAngleRot=None)
    for part in (
        "rlnDefocusU must be positive",
        "particle_diameter_angst (60 A) must not exceed the box, 16 px of 3 A, which is 48 A",
        "4 maps (n_classes) from two halves needs at least 16 particles, but there are 12",
        "initial_resolution_angst (5 A) must not be finer than Nyquist, which is 6 A",
        "none.mrc does not exist",
        "mask.mrc: the values of a mask must lie between 0 and 1",
        "none of the 12 particles has a pose",
    ):
        assert part in said, part


def test_the_resolution_may_reach_nyquist(tmp_path):
    flat = {"initial_resolution_angst": 6.0, "global_resolution_angst": 6.0}
    check_refinement(config_of(tmp_path, **flat), *particles(tmp_path))


def test_a_ctf_is_needed(tmp_path):
    said = refusal(tmp_path, {}, rlnDefocusU=None)
    assert said.startswith("a 3D program needs rlnDefocusU, which the particles lack")


def test_poses_of_some_particles_are_counted(tmp_path, caplog):
    rot = np.where(np.arange(N) < 5, np.nan, 10.0)
    check_refinement(
        config_of(tmp_path, start_from_poses=True), *particles(tmp_path, rlnAngleRot=rot)
    )
    assert "5 of 12 particles have no pose: they are searched globally in the first" in caplog.text
    check_poses(find_particles(tmp_path / "a.star")[0], searches_rest=False)
    assert "they are left out" in caplog.text


def test_one_half_alone_is_refused_where_poses_are_kept(tmp_path):
    said = refusal(tmp_path, {"start_from_poses": True}, rlnRandomSubset=2)
    assert "half 1 is empty: rlnRandomSubset is 2 for all 12 particles" in said
    check_refinement(config_of(tmp_path), *particles(tmp_path, rlnRandomSubset=2))


def test_poses_in_one_half_alone_are_refused(tmp_path):
    rot = np.where(np.arange(N) < 6, np.nan, 10.0)
    half = np.where(np.arange(N) < 6, 1, 2)
    said = refusal(tmp_path, {"start_from_poses": True}, rlnAngleRot=rot, rlnRandomSubset=half)
    assert "no particle of half 1 has a pose" in said


def test_shifted_poses_of_centred_particles_are_refused(tmp_path):
    flat, shift = {"start_from_poses": True, "shift_std_px": 0.0}, np.linspace(-3, 9, N)
    said = refusal(tmp_path, flat, rlnOriginXAngst=shift, rlnOriginYAngst=0.0)
    assert "shift_std_px is 0" in said and "shifts of up to 3 px" in said
    check_refinement(config_of(tmp_path, **flat), *particles(tmp_path))


@pytest.mark.parametrize("name", ["highpass_angst", "lowpass_angst"])
def test_filtered_images_have_no_noise_to_go_by(tmp_path, name):
    said = refusal(tmp_path, {name: 20.0})
    assert said.startswith(f"{name} must be 0 in a 3D refinement")


def test_a_thu_file_without_pixel_size_is_refused(tmp_path):
    table, catalogue = particles(tmp_path)
    silent = replace(
        catalogue, headers=tuple(replace(h, pixel_size_angst=0.0) for h in catalogue.headers)
    )
    config = from_flat(Refine3DConfig, {"particles_file": "a.thu"})
    with pytest.raises(ValueError, match="neither a.thu nor its stacks tell the pixel size"):
        check_refinement(config, table, silent)
    given = from_flat(Refine3DConfig, {"particles_file": "a.thu", "pixel_size_angst": 3.0})
    check_refinement(given, table, silent)


def test_the_background_lies_outside_the_particle(tmp_path):
    found = particles(tmp_path)
    assert preprocessing_of(config_of(tmp_path), *found).background_radius_px == 0.45 * BOX
    flat = {"particle_diameter_angst": 30.0, "downsample_box_px": 8}
    settings = preprocessing_of(config_of(tmp_path, **flat), *found)
    assert settings.background_radius_px == 15.0 / 6.0 and settings.ctf == "none"
