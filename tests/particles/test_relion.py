# SPDX-License-Identifier: GPL-3.0-or-later
"""RELION itself reads what we write and moves particles as our poses say; skipped without it.

Any RELION from 3.1 on the PATH will do, such as Debian's package `relion`.
"""

from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pytest

from cryoralib_plugin.geometry.rigid2d import Poses2D
from cryoralib_plugin.io.mrc import read_mrc, write_stack
from cryoralib_plugin.particles.table import ParticleTable

PROGRAM = shutil.which("relion_stack_create")
BOX, PIXEL_SIZE, N = 64, 2.0, 12
# Three blobs, x and y in px about the centre, no symmetry.
BLOBS = np.array([[9.0, 2.0], [-4.0, 11.0], [-6.0, -7.0]])


def draw(centres):
    axis = np.arange(BOX) - BOX // 2
    y, x = np.meshgrid(axis, axis, indexing="ij")
    return sum(
        (2 + k) * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * 3.0**2))
        for k, (cx, cy) in enumerate(centres)
    )


@pytest.mark.skipif(PROGRAM is None, reason="no RELION on the PATH")
def test_relion_moves_particles_as_our_poses_say(tmp_path):
    rng = np.random.default_rng(4)
    psi_deg, shift_px = rng.uniform(-180, 180, N), rng.uniform(-4, 4, (N, 2))
    psi_rad = np.deg2rad(psi_deg)
    rotations = np.stack(
        [[np.cos(psi_rad), -np.sin(psi_rad)], [np.sin(psi_rad), np.cos(psi_rad)]]
    ).transpose(2, 0, 1)
    # The particle holds the content at x_in; in the average it stands at R (x_in + shift).
    x_in = np.einsum("nji,kj->nki", rotations, BLOBS) - shift_px[:, None]
    images = np.stack([draw(centres) for centres in x_in])
    write_stack(tmp_path / "a.mrcs", images, pixel_size_angst=PIXEL_SIZE)
    names = [f"{number + 1:06d}@a.mrcs" for number in range(N)]
    table = ParticleTable.from_image_names(names, pixel_size_angst=PIXEL_SIZE, box_size_px=BOX)
    table = table.with_poses(Poses2D(psi_deg, shift_px, np.zeros(N, dtype=bool)))
    optics = table.optics.assign(
        rlnVoltage=300.0, rlnSphericalAberration=2.7, rlnAmplitudeContrast=0.1
    )
    ParticleTable.from_blocks({**table.blocks(), "optics": optics}).write(tmp_path / "a.star")
    command = [PROGRAM, "--i", "a.star", "--o", "moved", "--apply_transformation"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    moved, _ = read_mrc(tmp_path / "moved.mrcs")
    # RELION interpolates linearly, which flattens the peaks a little.
    np.testing.assert_allclose(moved, np.broadcast_to(draw(BLOBS), moved.shape), atol=0.12)
