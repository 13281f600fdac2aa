# SPDX-License-Identifier: GPL-3.0-or-later
"""Run by every rank in test_mpi_communicator.py: fails on the rank that sees something wrong."""

import sys
from dataclasses import dataclass

import numpy as np

from cryoralib_plugin.parallel import mpi


@dataclass(frozen=True)
class Rows:
    reference: np.ndarray
    shift: np.ndarray
    mirror: np.ndarray
    reason: np.ndarray


# Several messages for each array, as for arrays beyond 2^31 bytes.
mpi._LARGEST_MESSAGE = 5

comm = mpi.open_communicator(int(sys.argv[1]))
size, rank = comm.size, comm.rank
assert comm.local_rank == rank
assert comm.is_root == (rank == 0)

total = comm.sum(np.full((3, 4), 2**53 + rank, dtype=np.int64))
assert (total == sum(2**53 + r for r in range(size))).all()

given = np.arange(12.0).reshape(3, 4) if comm.is_root else None
np.testing.assert_array_equal(comm.broadcast(given), np.arange(12.0).reshape(3, 4))
assert comm.broadcast({"text": 1} if comm.is_root else None) == {"text": 1}
assert comm.broadcast(np.zeros((0, 3)) if comm.is_root else None).shape == (0, 3)

# Rank r brings r rows, so the root brings none.
mine = Rows(
    np.full(rank, rank, dtype=np.int32),
    np.full((rank, 2), rank + 0.5),
    np.full(rank, rank % 2 == 1),
    np.full(rank, f"rank {rank}", dtype="<U20"),
)
every = comm.gather_rows(mine)
if comm.is_root:
    expected = [r for r in range(size) for _ in range(r)]
    np.testing.assert_array_equal(every.reference, expected)
    np.testing.assert_array_equal(every.shift[:, 1], np.array(expected) + 0.5)
    np.testing.assert_array_equal(every.mirror, np.array(expected) % 2 == 1)
    assert every.reason.tolist() == [f"rank {r}" for r in expected]
else:
    assert every is None

half = comm.split(rank % 2)
assert half.size == len(range(rank % 2, size, 2))
assert half.sum(np.array([rank]))[0] == sum(range(rank % 2, size, 2))
comm.barrier()
