# SPDX-License-Identifier: GPL-3.0-or-later
"""What THUNDER 1.4.14 wrote about its own run, read and measured with our conventions."""

from __future__ import annotations

import numpy as np
import pytest

from cryoralib_plugin.fourier.fsc import fsc, last_shell_above, masked_fsc
from cryoralib_plugin.fourier.masks3d import automatic_mask, soft_sphere
from cryoralib_plugin.geometry.rotations import angle_between, normalise
from cryoralib_plugin.io.mrc import read_mrc

BOX = 64


@pytest.fixture(scope="module")
def case(request):
    folder = request.config.rootpath.parent / "shared" / "data" / "oracle" / "thunder_case"
    if not folder.is_dir():
        pytest.skip(f"the shared data are not here ({folder})")
    return folder


@pytest.fixture(scope="module")
def maps(case):
    """Return the two half maps and the truth."""
    names = ("thunder_half_A.mrc", "thunder_half_B.mrc", "truth.mrc")
    return tuple(read_mrc(case / name)[0].reshape((BOX,) * 3) for name in names)


@pytest.fixture(scope="module")
def noise():
    return tuple(np.random.default_rng(0).normal(size=(2, BOX, BOX, BOX)))


def test_its_shell_correlation_is_ours(case, maps, noise):
    written = np.concatenate([[1.0], np.loadtxt(case / "thunder_FSC_final.txt")[:, 2]])
    # Its core mask: 75 A of 3 A pixels, six pixels of edge.
    found = masked_fsc(*maps[:2], soft_sphere(BOX, 25, 6), noise)
    start = found.first_random_shell + 2
    np.testing.assert_allclose(found.corrected[1:start], written[1:start], atol=2e-3)
    # Beyond, it drew other random phases.
    np.testing.assert_allclose(found.corrected[start:30], written[start:30], atol=0.08)
    assert last_shell_above(found.corrected, 0.143) == last_shell_above(written, 0.143) == 18


def test_its_map_agrees_with_the_truth_to_shell_19(maps):
    mean = (maps[0] + maps[1]) / 2
    assert last_shell_above(fsc(mean, maps[2], soft_sphere(BOX, 22, 6)), 0.5) == 19


def test_its_poses_are_as_far_from_the_truth_as_known(case):
    lines = (case / "thunder_poses_final.thu").read_text().splitlines()
    rows = [line.split() for line in lines if line.strip() and not line.startswith("#")]
    truth = np.load(case / "truth.npy")[[int(row[7].split("@")[0]) - 1 for row in rows]]
    rotations = normalise(np.array([row[13:17] for row in rows], dtype=float))
    error = angle_between(rotations, normalise(truth[:, :4]))
    assert len(rows) == 800
    assert np.median(error) == pytest.approx(1.333, abs=5e-3)
    assert (error < 10).mean() == pytest.approx(0.83125)


def test_an_automatic_mask_holds_the_molecule_and_leaves_its_resolution(maps, noise):
    mask = automatic_mask((maps[0] + maps[1]) / 2, 3.0, radius_px=24)
    assert mask[maps[2] > 0.1 * maps[2].max()].mean() > 0.97
    found = masked_fsc(*maps[:2], mask, noise)
    assert last_shell_above(found.corrected, 0.143) >= 18
    assert last_shell_above(found.unmasked, 0.143) == 15
