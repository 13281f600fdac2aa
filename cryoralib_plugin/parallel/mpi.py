# SPDX-License-Identifier: GPL-3.0-or-later
"""The communicator of a run under mpirun, and the choice between it and the serial one."""

from __future__ import annotations

import os
import sys
from typing import Any, TypeVar

import numpy as np

from cryoralib_plugin.contract._param import ConfigError
from cryoralib_plugin.parallel.communicator import (
    Communicator,
    SerialCommunicator,
    map_arrays,
)

Value = TypeVar("Value")

_RANK_VARIABLES = ("PMI_RANK", "PMIX_RANK", "OMPI_COMM_WORLD_RANK", "MV2_COMM_WORLD_RANK")

# Elements. MPI libraries before version 4 count them in 32 bits, and all keep room for a message
# of their own while they add it up over ranks.
_LARGEST_MESSAGE = 2**22


def open_communicator(expected_ranks: int = 0) -> Communicator:
    """Return the communicator of all ranks; a serial one where no MPI launcher is at work.

    Raises
    ------
    ConfigError
        If `expected_ranks` is not 0 and the run has another number of ranks: an mpirun of another
        MPI library starts every rank as a run of its own, and all would write the same files.
    """
    launched = any(name in os.environ for name in _RANK_VARIABLES)
    comm: Communicator = SerialCommunicator()
    if launched or expected_ranks > 1 or "mpi4py" in sys.modules:
        comm = _open_world(needed=launched or expected_ranks > 1)
    if expected_ranks not in (0, comm.size):
        raise ConfigError(
            f"{expected_ranks} MPI ranks were expected, but this run has {comm.size}: mpirun and "
            "mpi4py probably belong to different MPI libraries; use the mpirun beside "
            f"{sys.executable}, or set expected_ranks to the number you start"
        )
    return comm


def _open_world(*, needed: bool) -> Communicator:
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        if not needed:
            return SerialCommunicator()
        raise ConfigError(
            f"this run was started under MPI, but mpi4py cannot be used ({error}): install it "
            "with 'pip install mpi4py mpich', or start one rank without mpirun"
        ) from error
    return MpiCommunicator(MPI.COMM_WORLD)


class MpiCommunicator:
    """Ranks joined by mpi4py."""

    def __init__(self, world: Any) -> None:
        from mpi4py import MPI

        self._mpi = MPI
        self._world = world
        self.rank: int = world.Get_rank()
        self.size: int = world.Get_size()
        node = world.Split_type(MPI.COMM_TYPE_SHARED, key=self.rank)
        self.local_rank: int = node.Get_rank()
        node.Free()

    @property
    def is_root(self) -> bool:
        """Whether this is rank 0."""
        return self.rank == 0

    def broadcast(self, value: Any) -> Any:
        """Return the root's value on every rank."""
        is_array = self.is_root and isinstance(value, np.ndarray)
        layout = self._world.bcast((value.shape, value.dtype) if is_array else None, root=0)
        if layout is None:
            return self._world.bcast(value, root=0)
        shape, kind = layout
        array = np.ascontiguousarray(value) if self.is_root else np.empty(shape, kind)
        flat = array.reshape(-1).view(np.uint8)
        for start in range(0, flat.size, _LARGEST_MESSAGE):
            self._world.Bcast(flat[start : start + _LARGEST_MESSAGE], root=0)
        return array

    def sum(self, value: Value) -> Value:
        """Return the sum over ranks of an array or of each array in a dataclass."""
        return map_arrays(self._sum_array, value)

    def _sum_array(self, array: np.ndarray) -> np.ndarray:
        total = np.array(array, order="C", copy=True)
        flat = total.reshape(-1)
        for start in range(0, flat.size, _LARGEST_MESSAGE):
            part = flat[start : start + _LARGEST_MESSAGE]
            self._world.Allreduce(self._mpi.IN_PLACE, part, op=self._mpi.SUM)
        return total

    def gather_rows(self, value: Value) -> Value | None:
        """Return, on the root, the rows of all ranks in rank order; None elsewhere."""
        gathered = map_arrays(self._gather_array, value)
        return gathered if self.is_root else None

    def _gather_array(self, array: np.ndarray) -> np.ndarray:
        if not self.is_root:
            self._world.send(len(array), dest=0)
            flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
            for start in range(0, flat.size, _LARGEST_MESSAGE):
                self._world.Send(flat[start : start + _LARGEST_MESSAGE], dest=0)
            return array
        parts = [array]
        for source in range(1, self.size):
            part = np.empty((self._world.recv(source=source), *array.shape[1:]), array.dtype)
            flat = part.reshape(-1).view(np.uint8)
            for start in range(0, flat.size, _LARGEST_MESSAGE):
                self._world.Recv(flat[start : start + _LARGEST_MESSAGE], source=source)
            parts.append(part)
        return np.concatenate(parts)

    def split(self, color: int) -> MpiCommunicator:
        """Return the communicator of the ranks that gave the same colour."""
        return MpiCommunicator(self._world.Split(color, self.rank))

    def barrier(self) -> None:
        """Wait until every rank has come here."""
        self._world.Barrier()

    def abort(self, code: int) -> None:
        """End every rank of the run at once with this exit code."""
        sys.stdout.flush()
        sys.stderr.flush()
        self._mpi.COMM_WORLD.Abort(code)
