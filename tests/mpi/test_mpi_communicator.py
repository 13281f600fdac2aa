# SPDX-License-Identifier: GPL-3.0-or-later
"""The communicator at 1, 2 and 3 ranks, and how a run of ranks ends when one fails."""

import time
from pathlib import Path

import pytest

PROGRAM = Path(__file__).resolve().parent / "communicator_program.py"

pytestmark = pytest.mark.mpi


@pytest.mark.parametrize("n_ranks", [1, 2, 3])
def test_sums_gathers_and_broadcasts_agree(ranks, n_ranks):
    done = ranks.run(n_ranks, [PROGRAM, n_ranks])
    assert done.returncode == 0, done.stderr


def test_another_number_of_ranks_is_refused(ranks):
    done = ranks.run(2, [PROGRAM, 3])
    assert done.returncode != 0
    assert "3 MPI ranks were expected, but this run has 2" in done.stderr


def test_ranks_that_do_not_see_each_other_are_refused(ranks):
    # An mpirun of another MPI library starts each rank as a run of its own.
    done = ranks.run(0, [PROGRAM, 3])
    assert done.returncode != 0
    assert "3 MPI ranks were expected, but this run has 1" in done.stderr
    assert "different MPI libraries" in done.stderr


@pytest.mark.parametrize("failing", [0, 2])
def test_one_failing_rank_ends_all_within_seconds(ranks, failing, tmp_path):
    program = tmp_path / "fails.py"
    program.write_text(
        "from cryoralib_plugin.parallel.mpi import open_communicator\n"
        "comm = open_communicator(3)\n"
        f"if comm.rank == {failing}:\n"
        f"    raise ValueError('particle 7 is odd on rank {failing}')\n"
        "comm.barrier()\n"
    )
    start = time.monotonic()
    done = ranks.run(3, [program])
    assert done.returncode != 0
    assert f"particle 7 is odd on rank {failing}" in done.stderr
    assert time.monotonic() - start < 20
