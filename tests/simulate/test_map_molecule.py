# SPDX-License-Identifier: GPL-3.0-or-later
"""Particles of a given map: projections against blobs in closed form; what the program writes."""

from __future__ import annotations

import json

import numpy as np
import pytest

from cryoralib_plugin.contract._codec import from_flat
from cryoralib_plugin.contract._param import ConfigError
from cryoralib_plugin.contract.simulate import SimulateConfig
from cryoralib_plugin.fourier.fsc import fsc
from cryoralib_plugin.io.mrc import read_mrc, write_volume
from cryoralib_plugin.io.star import read_star
from cryoralib_plugin.simulate import simulate
from cryoralib_plugin.simulate.map_molecule import map_molecule
from cryoralib_plugin.simulate.phantom import density_map, make_phantom
from cryoralib_plugin.simulate.project import Poses3D, project

BOX, PIXEL = 40, 4.0


def phantom_of(seed: int):
    return make_phantom(seed, diameter_angst=110.0, n_domains=4, sigma_angst=6.0)


def poses_of(n: int) -> Poses3D:
    rng = np.random.default_rng(1)
    tilt = np.rad2deg(np.arccos(rng.uniform(-1, 1, n)))
    angles = np.stack([rng.uniform(-180, 180, n), tilt, rng.uniform(-180, 180, n)], axis=1)
    return Poses3D(angles, rng.uniform(-3, 3, (n, 2)))


def apart(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


@pytest.mark.parametrize("box, voxel, bound", [(40, 4.0, 2e-4), (61, 2.7, 2e-4), (36, 4.6, 2e-3)])
def test_projections_of_a_map_are_those_of_its_blobs(box, voxel, bound):
    # A tenth of the error of the kernels of a refinement, whatever the voxels of the map.
    phantom, poses = phantom_of(3), poses_of(12)
    molecule = map_molecule(7.0 + 1000.0 * density_map(phantom, box, voxel), voxel, PIXEL)
    scale = 1000.0 * (PIXEL / voxel) ** -3
    expected = project(phantom, poses, BOX, PIXEL)
    assert apart(project(molecule, poses, BOX, PIXEL) / scale, expected) < bound
    at_home = density_map(molecule, BOX, PIXEL)
    assert apart(at_home / scale, density_map(phantom, BOX, PIXEL)) < bound
    along_z = project(molecule, Poses3D(np.zeros((1, 3)), np.zeros((1, 2))), BOX, PIXEL)[0]
    assert apart(along_z, at_home.sum(axis=0)) < 1e-5


def test_what_cannot_be_projected_is_refused():
    volume = density_map(phantom_of(3), BOX, PIXEL)
    with pytest.raises(ValueError, match="reaches 44 A from the centre .* the images 40 A"):
        project(map_molecule(volume, PIXEL), poses_of(1), 20, PIXEL)
    with pytest.raises(ValueError, match="no voxel size in its header"):
        map_molecule(volume, 0.0)
    with pytest.raises(ValueError, match="not the same everywhere"):
        map_molecule(np.ones((8, 8, 8)), 1.0)
    with pytest.raises(TypeError, match="a Phantom or a MapMolecule, not a ndarray"):
        project(volume, poses_of(1), BOX, PIXEL)
    with pytest.raises(TypeError, match="a Phantom or a MapMolecule, not a ndarray"):
        density_map(volume, BOX, PIXEL)


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    """Two states and a wrong molecule, nearly without noise."""
    folder = tmp_path_factory.mktemp("maps")
    for seed, name in enumerate(("first", "second", "wrong"), start=3):
        volume = (10.0 if name == "wrong" else 1.0) * density_map(phantom_of(seed), 48, 3.5)
        write_volume(folder / f"{name}.mrc", volume.astype(np.float32), pixel_size_angst=3.5)
    config = from_flat(
        SimulateConfig,
        {
            "output_dir": str(folder / "out"), "map_file": str(folder / "first.mrc"),
            "second_map_file": str(folder / "second.mrc"), "second_share": 0.3,
            "wrong_map_file": str(folder / "wrong.mrc"), "junk_fraction": 0.2, "snr": 1e4,
            "n_particles": 400, "box_size_px": BOX, "pixel_size_angst": PIXEL,
            "apply_ctf": False, "bfactor_angst2": 0.0, "ramp_max": 0.0, "shift_max_px": 2.0,
            "intensity_variation": 0.0, "noise_rise": 1.0,
        },
    )  # fmt: skip
    return simulate(config), folder


def test_classes_and_junk_have_their_shares(simulated):
    rows = read_star(simulated[0] / "truth.star")["particles"]
    kinds = rows["cryoralibImageKind"]
    assert (kinds == "wrong molecule").mean() == pytest.approx(0.1, abs=0.04)
    assert (kinds == "empty").mean() == pytest.approx(0.1, abs=0.04)
    real = rows[kinds == "particle"]
    assert (real["rlnClassNumber"] == 2).mean() == pytest.approx(0.3, abs=0.1)
    assert set(real["rlnClassNumber"]) == {1, 2}
    assert (rows["rlnClassNumber"][kinds != "particle"] == 0).all()


def test_images_are_projections_of_the_maps_beside_them(simulated):
    folder, _ = simulated
    rows = read_star(folder / "truth.star")["particles"]
    images, _ = read_mrc(folder / "particles.mrcs")
    of_angles = ["rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"]
    of_origin = ["rlnOriginXAngst", "rlnOriginYAngst"]
    poses = Poses3D(rows[of_angles].to_numpy(), rows[of_origin].to_numpy() / PIXEL)
    for name, number in (("phantom", 1), ("second", 2)):
        of_class = np.flatnonzero(rows["rlnClassNumber"] == number)
        molecule = map_molecule(*read_mrc(folder / f"{name}.mrc"))
        expected = project(molecule, poses[of_class], BOX, PIXEL)
        # The noise has a hundredth of the signal's deviation in the disk.
        assert apart(images[of_class], expected) < 0.02
    power = images.var(axis=(1, 2))
    kinds = rows["cryoralibImageKind"]
    of_wrong, of_real = (power[kinds == kind].mean() for kind in ("wrong molecule", "particle"))
    assert of_wrong == pytest.approx(of_real, rel=0.15)
    assert power[kinds == "empty"].mean() == pytest.approx(1.0, rel=0.05)


def test_maps_are_written_on_the_images_voxels(simulated):
    folder, given = simulated
    for name, source in (("phantom", 3), ("second", 4)):
        volume, voxel = read_mrc(folder / f"{name}.mrc")
        assert voxel == pytest.approx(PIXEL)
        assert (fsc(volume, density_map(phantom_of(source), BOX, PIXEL))[1:16] > 0.999).all()
    assert json.loads((folder / "summary.json").read_text())["n_wrong_molecule"] > 20


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"second_map_file": "b.mrc"}, "second_map_file is given, but map_file is not"),
        ({"wrong_map_file": "b.mrc"}, "wrong_map_file is given, but map_file is not"),
        (
            {"map_file": "a.mrc", "second_map_file": "b.mrc", "view_choice": "discrete"},
            "both say what a class is",
        ),
    ],
)
def test_maps_that_do_not_go_together_are_refused(settings, words):
    with pytest.raises(ConfigError, match=words):
        from_flat(SimulateConfig, settings)
