# SPDX-License-Identifier: GPL-3.0-or-later
"""Experimental images through the command line: classes show the molecule, not noise."""

from __future__ import annotations

import pytest

from cryoralib_plugin import cli
from cryoralib_plugin.contract.results import ResultPaths
from cryoralib_plugin.figures.resolution import crossing_inv_angst
from cryoralib_plugin.fourier.masks import circular_mask
from cryoralib_plugin.io.star import read_star, write_star
from cryoralib_plugin.report.collect import read_iteration

N_PARTICLES = 300


@pytest.fixture(scope="module")
def classified(shared_data, tmp_path_factory):
    """The last iteration of MRA on the first particles of the apoferritin set, 3 classes."""
    folder = tmp_path_factory.mktemp("real")
    real = shared_data / "real"
    blocks = read_star(real / "apoferritin_10146_dev.star")
    rows = blocks["particles"].iloc[:N_PARTICLES].copy()
    number = rows["rlnImageName"].str.split("@").str[0]
    rows["rlnImageName"] = number + f"@{real / 'apoferritin_10146_dev.mrcs'}"
    write_star(folder / "particles.star", {**blocks, "particles": rows})
    words = "--n-classes 3 --n-iterations 5 --outer-radius-px 24 --ctf-correction phase_flip"
    files = [
        "--particles-file",
        str(folder / "particles.star"),
        "--output-dir",
        str(folder / "run"),
    ]
    assert cli.main(["mra", *files, *words.split()]) == 0
    paths = ResultPaths(folder / "run")
    return read_iteration(paths, paths.last_iteration())


def test_the_largest_class_of_real_images_reaches_30_angst(classified):
    largest = classified.classes.number[classified.classes.order("size")[0]]
    crossing = crossing_inv_angst(*classified.frc.curve(int(largest)), 0.5)
    assert 1.0 / crossing <= 30.0
    assert classified.classes.alive.all()


def test_every_class_of_apoferritin_is_a_hollow_shell(classified):
    box = classified.box_size_px
    disk = {radius: circular_mask(box, radius) > 0.5 for radius in (8, 12, 19, 21, 25)}
    for average in classified.averages:
        hollow = average[disk[8]].mean()
        shell = average[disk[19] & ~disk[12]].mean()
        outside = average[disk[25] & ~disk[21]].mean()
        assert shell > hollow + average.std() and shell > outside + average.std()
