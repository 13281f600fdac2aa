# SPDX-License-Identifier: GPL-3.0-or-later
"""RELION projects and reconstructs what we do, with our poses and CTF; skipped without it.

Any RELION from 3.1 on the PATH will do, such as Debian's package `relion`.
"""

from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pytest

from benchmarks._refine3d import inserted, particles_of, poses_of
from cryoralib_plugin.contract._codec import from_flat
from cryoralib_plugin.contract.simulate import SimulateConfig
from cryoralib_plugin.fourier.fsc import fsc, last_shell_above
from cryoralib_plugin.fourier.masks3d import soft_sphere
from cryoralib_plugin.fourier.reconstruction import reconstruct
from cryoralib_plugin.fourier.transform import backward, forward
from cryoralib_plugin.geometry.rotations import to_euler
from cryoralib_plugin.io.mrc import read_mrc
from cryoralib_plugin.io.star import read_star, write_star
from cryoralib_plugin.optics.ctf import ctf_2d
from cryoralib_plugin.simulate import simulate
from cryoralib_plugin.simulate.map_molecule import map_molecule
from cryoralib_plugin.simulate.project import Poses3D, project

BOX, PIXEL = 48, 4.0


def relion(program: str, *words: str, folder):
    """Run a program of RELION in a folder; skip where there is none."""
    found = shutil.which(f"relion_{program}")
    if found is None:
        pytest.skip("no RELION on the PATH")
    ended = subprocess.run([found, *words], cwd=folder, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """300 particles with truth.star, which also says whose half they are."""
    folder = tmp_path_factory.mktemp("relion")
    settings = {
        "output_dir": str(folder), "n_particles": 300, "box_size_px": BOX,
        "pixel_size_angst": PIXEL, "object_diameter_angst": 130.0, "blob_sigma_angst": 4.5,
        "snr": 2.0, "shift_max_px": 3.0, "bfactor_angst2": 0.0, "noise_rise": 1.0,
        "ramp_max": 0.0, "intensity_variation": 0.0, "junk_fraction": 0.0,
    }  # fmt: skip
    simulate(from_flat(SimulateConfig, settings))
    blocks = read_star(folder / "truth.star")
    blocks["particles"]["rlnRandomSubset"] = np.arange(300) % 2 + 1
    write_star(folder / "halves.star", blocks)
    return folder


def test_relion_projects_the_map_as_we_do(folder):
    words = ["--i", "phantom.mrc", "--o", "projected", "--ang", "halves.star", "--ctf"]
    relion("project", *words, "--angpix", str(PIXEL), "--pad", "3", folder=folder)
    found, _ = read_mrc(folder / "projected.mrcs")
    truth = poses_of(particles_of(folder / "halves.star"))
    molecule = map_molecule(*read_mrc(folder / "phantom.mrc"))
    poses = Poses3D(np.stack(to_euler(truth.rotations), axis=1), truth.shift_px)
    spectra = forward(project(molecule, poses, BOX, PIXEL)) * ctf_2d(truth.ctf, BOX, PIXEL)
    expected = backward(spectra, BOX)
    # The linear interpolation of RELION's.
    assert np.linalg.norm(found - expected) / np.linalg.norm(expected) < 0.01


def test_relion_reconstructs_from_our_poses_what_we_do(folder):
    words = ["--i", "halves.star", "--ctf", "--pad", "2", "--skip_gridding"]
    images, _ = read_mrc(folder / "particles.mrcs")
    truth, mask = poses_of(particles_of(folder / "halves.star")), soft_sphere(BOX, 17, 4)
    ours, theirs = [], []
    for half in (1, 2):
        name = f"half{half}.mrc"
        relion("reconstruct", *words, "--o", name, "--subset", str(half), folder=folder)
        theirs.append(read_mrc(folder / name)[0])
        rows = slice(half - 1, None, 2)
        ours.append(reconstruct(*inserted(images[rows], truth[rows], PIXEL, 23)))
    reported = last_shell_above(fsc(*ours, mask), 0.143)
    assert reported >= 15
    for own, other in zip(ours, theirs):
        assert (fsc(own, other, mask)[1 : reported + 1] >= 0.99).all()
        inside = mask > 0.5
        slope = np.vdot(own[inside], other[inside]) / np.vdot(own[inside], own[inside])
        assert slope == pytest.approx(1.0, abs=0.03)
