# SPDX-License-Identifier: GPL-3.0-or-later
"""A run gives the same files for any ranks and batches, and after being killed and continued."""

import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest

from cryoralib_plugin.contract.results import ResultPaths
from cryoralib_plugin.io.run_files import RunFiles

pytestmark = pytest.mark.mpi

ITERATIONS = 5


@pytest.fixture(scope="module")
def particles(tmp_path_factory):
    """90 particles of three views, one of them unusable."""
    folder = tmp_path_factory.mktemp("particles")
    words = "simulate --n-particles 90 --box-size-px 48 --snr 0.2 --disk-radius-px 18 "
    words += "--object-diameter-angst 100 --view-choice discrete --n-views 3 --output-dir"
    subprocess.run(
        [sys.executable, "-m", "cryoralib_plugin", *words.split(), str(folder)],
        check=True,
        capture_output=True,
    )
    with open(folder / "particles.mrcs", "rb+") as file:
        file.seek(1024 + 4 * 48 * 48 * 40)
        file.write(np.full(10, np.nan, dtype=np.float32).tobytes())
    return folder / "particles.star"


@pytest.fixture(scope="module")
def start(ranks, particles):
    """Start `mra` on some ranks; returns the process."""

    def start_mra(n_ranks, folder, *more, **options):
        words = "-m cryoralib_plugin mra --n-classes 4 --outer-radius-px 18 --shift-range-px 2"
        words = f"{words} --expected-ranks {max(n_ranks, 1)} --n-iterations {ITERATIONS}".split()
        words += ["--particles-file", particles, "--output-dir", folder, *more]
        return ranks.start(n_ranks, words, **options)

    return start_mra


@pytest.fixture(scope="module")
def undisturbed(start, tmp_path_factory):
    """Run directory of one rank, without mpirun."""
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    finish(start(0, folder, "--batch-size", "64"))
    return folder


def finish(process):
    out, error = process.communicate(timeout=180)
    assert process.returncode == 0, out + error


def engines_of(process):
    """The ranks below an mpirun, rank 0 first."""
    children = psutil.Process(process.pid).children(recursive=True)
    engines = [p for p in children if "mpi4py" in p.cmdline()]
    return sorted(engines, key=lambda p: p.environ()["PMI_RANK"])


def assert_same_results(folder, expected, iterations=range(1, ITERATIONS + 1)):
    for it in iterations:
        mine, theirs = ResultPaths(folder), ResultPaths(expected)
        for name in ("data_star", "classes_mrcs", "model_json", "frc_csv"):
            one, other = getattr(mine, name)(it), getattr(theirs, name)(it)
            assert one.read_bytes() == other.read_bytes(), f"{one.name} differs"


@pytest.mark.parametrize(("n_ranks", "batch_size"), [(0, 1), (0, 7), (1, 7), (2, 64), (3, 7)])
def test_ranks_and_batches_change_no_bit(start, undisturbed, tmp_path, n_ranks, batch_size):
    finish(start(n_ranks, tmp_path / "run", "--batch-size", str(batch_size)))
    assert_same_results(tmp_path / "run", undisturbed)


def test_an_unusable_particle_is_listed_and_has_no_class(undisturbed):
    paths = ResultPaths(undisturbed)
    assert "NaN" in paths.quarantine_csv.read_text()
    checkpoint = RunFiles(paths).read_checkpoint()
    numbers = checkpoint.blocks["particles"]["rlnClassNumber"].to_numpy()
    assert numbers[40] == 0
    assert (np.delete(numbers, 40) > 0).all()


@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_run_continues_to_the_same_result(start, undisturbed, tmp_path, victim):
    folder = tmp_path / "run"
    # One image at a time and nothing kept: slow enough to be killed in the middle.
    process = start(2, folder, "--batch-size", "1", "--cache", "none", start_new_session=True)
    manifest = ResultPaths(folder).manifest_json(1)
    deadline = time.monotonic() + 120
    while not manifest.is_file() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    engines = engines_of(process)
    time.sleep(random.uniform(0.0, 0.3))
    assert process.poll() is None, "the run ended before it could be killed"
    os.kill(engines[victim].pid, signal.SIGKILL)
    process.communicate(timeout=60)
    assert process.returncode != 0
    finish(start(3, folder, "--resume"))
    assert_same_results(folder, undisturbed)


def test_a_full_disk_leaves_the_last_iteration_whole(start, undisturbed, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(undisturbed, folder)
    for file in folder.glob("run_it00[345]*"):
        file.unlink()

    def small_files():
        resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))

    process = start(0, folder, "--resume", preexec_fn=small_files)
    out, error = process.communicate(timeout=180)
    assert process.returncode != 0
    assert "run_it003_" in error and "Iteration 2 is whole" in error
    files = RunFiles(ResultPaths(folder))
    assert files.last_whole_iteration() == 2
    assert files.read_status()["state"] == "failed"
    finish(start(0, folder, "--resume"))
    assert_same_results(folder, undisturbed)


def test_a_rank_that_fails_ends_the_run_with_its_message(ranks, particles, tmp_path):
    program = tmp_path / "fails.py"
    program.write_text(
        "import os, sys\n"
        "from cryoralib_plugin import cli\n"
        "from cryoralib_plugin.align2d import expectation\n"
        "def broken(*given, **more):\n"
        "    raise ValueError('particle 55 is odd')\n"
        "if os.environ['PMI_RANK'] == '1':\n"
        "    expectation.match_rings = broken\n"
        "sys.exit(cli.main(sys.argv[1:]))\n"
    )
    words = "mra --n-classes 4 --outer-radius-px 18 --shift-range-px 2 --output-dir".split()
    folder = tmp_path / "run"
    done = ranks.run(3, [program, *words, folder, "--particles-file", particles])
    assert done.returncode != 0
    assert "particle 55 is odd" in done.stderr
    assert RunFiles(ResultPaths(folder)).read_status()["state"] != "finished"
