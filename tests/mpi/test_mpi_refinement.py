# SPDX-License-Identifier: GPL-3.0-or-later
"""A refinement leaves the same bits for any ranks and batches, killed and continued or not."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import psutil
import pytest

from cryoralib_plugin.contract.results import ResultPaths
from cryoralib_plugin.particles.table import ParticleTable

pytestmark = pytest.mark.mpi

ROUNDS = 3
BOX, N, UNUSABLE, WITHOUT_POSE = 32, 60, 40, 11


@pytest.fixture(scope="module")
def particles(tmp_path_factory):
    """A folder with 60 particles in two groups, one of them unusable, and the map they show.

    All have a pose but one: a round is global, the others are local.
    """
    folder = tmp_path_factory.mktemp("particles") / "set"
    words = f"simulate --n-particles {N} --box-size-px {BOX} --pixel-size-angst 4 --snr 0.2 "
    words += "--object-diameter-angst 80 --shift-max-px 1 --output-dir"
    subprocess.run(
        [sys.executable, "-m", "cryoralib_plugin", *words.split(), str(folder)],
        check=True,
        capture_output=True,
    )
    with open(folder / "particles.mrcs", "rb+") as file:
        file.seek(1024 + 4 * BOX * BOX * UNUSABLE)
        file.write(np.full(10, np.nan, dtype=np.float32).tobytes())
    table = ParticleTable.read(folder / "truth.star")
    angles = table.particles["rlnAngleRot"].to_numpy(float, copy=True)
    angles[WITHOUT_POSE] = np.nan
    columns = {"rlnAngleRot": angles, "rlnGroupNumber": 1 + np.arange(N) // 2 % 2}
    table.with_columns(columns).write(folder / "grouped.star")
    return folder


@pytest.fixture(scope="module")
def start(ranks, particles):
    """Start `refine3d` on some ranks; returns the process."""

    def start_refinement(n_ranks, folder, *more, **options):
        words = "-m cryoralib_plugin refine3d --initial-resolution-angst 40 --shift-std-px 1 "
        words += "--global-resolution-angst 30 --n-scan-rotations 300 --n-local-rotations 30 "
        words += f"--n-local-shifts 7 --highest-phases 3 --maximum-rounds {ROUNDS} "
        words += "--start-from-poses --no-global-search --scale-correction "
        words += f"--expected-ranks {max(n_ranks, 1)} --particles-file"
        given = [particles / "grouped.star", "--reference-file", particles / "phantom.mrc"]
        return ranks.start(
            n_ranks, [*words.split(), *given, "--output-dir", folder, *more], **options
        )

    return start_refinement


@pytest.fixture(scope="module")
def undisturbed(start, tmp_path_factory):
    """Run directory of one rank, without mpirun."""
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    finish(start(0, folder))
    return folder


def finish(process):
    out, error = process.communicate(timeout=180)
    assert process.returncode == 0, out + error


def assert_same_results(folder, expected):
    mine, theirs = ResultPaths(folder), ResultPaths(expected)
    for it in range(1, ROUNDS + 1):
        for name in ("data_star", "noise_csv", "fsc_csv", "model_json"):
            one, other = getattr(mine, name)(it), getattr(theirs, name)(it)
            assert one.read_bytes() == other.read_bytes(), f"{one.name} differs"
        for half in (1, 2):
            one, other = mine.reference_mrc(it, half, 1), theirs.reference_mrc(it, half, 1)
            assert one.read_bytes() == other.read_bytes(), f"{one.name} differs"


@pytest.mark.parametrize(("n_ranks", "batch_size"), [(0, 7), (2, 16), (3, 64)])
def test_ranks_and_batches_change_no_bit(start, undisturbed, tmp_path, n_ranks, batch_size):
    finish(start(n_ranks, tmp_path / "run", "--batch-size", str(batch_size)))
    assert_same_results(tmp_path / "run", undisturbed)


def test_rounds_of_both_kinds_and_all_corrections_were_made(undisturbed):
    paths = ResultPaths(undisturbed)
    metrics = pd.read_csv(paths.metrics_csv)
    assert metrics["stage"].tolist() == ["global", "local", "local"]
    norm = ParticleTable.read(paths.data_star(ROUNDS)).particles["rlnNormCorrection"]
    assert norm.drop(UNUSABLE).std() > 0.01 and norm[UNUSABLE] == 1.0
    scales = json.loads(paths.model_json(ROUNDS).read_text())["group_scales"]
    assert len(scales) == 2 and scales[0] != scales[1]


def test_an_unusable_particle_is_listed_and_counts_nothing(undisturbed):
    paths = ResultPaths(undisturbed)
    assert "NaN" in paths.quarantine_csv.read_text()
    frame = ParticleTable.read(paths.data_star(ROUNDS)).particles
    assert frame.loc[UNUSABLE, ["rlnClassNumber", "cryoralibWeight"]].tolist() == [0, 0]
    assert (frame["cryoralibWeight"].drop(UNUSABLE) > 0).all()


def test_a_killed_run_continues_to_the_same_result(start, undisturbed, tmp_path):
    folder = tmp_path / "run"
    process = start(2, folder, "--batch-size", "2", start_new_session=True)
    manifest = ResultPaths(folder).manifest_json(1)
    deadline = time.monotonic() + 120
    while not manifest.is_file() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    children = psutil.Process(process.pid).children(recursive=True)
    engine = next(child for child in children if "mpi4py" in child.cmdline())
    time.sleep(random.uniform(0.0, 0.5))
    assert process.poll() is None, "the run ended before it could be killed"
    os.kill(engine.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    assert process.returncode != 0
    finish(start(3, folder, "--resume"))
    assert_same_results(folder, undisturbed)
