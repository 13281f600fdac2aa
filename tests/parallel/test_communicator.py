# SPDX-License-Identifier: GPL-3.0-or-later
"""The serial communicator, and what decides between it and MPI."""

from dataclasses import dataclass
from types import ModuleType

import numpy as np
import pytest

from cryoralib_plugin.contract._param import ConfigError
from cryoralib_plugin.parallel import mpi
from cryoralib_plugin.parallel.communicator import SerialCommunicator, map_arrays


@dataclass(frozen=True)
class Inner:
    values: np.ndarray


@dataclass(frozen=True)
class Outer:
    counts: np.ndarray
    inner: Inner
    name: str


def test_arrays_of_nested_dataclasses_are_mapped_and_the_rest_kept():
    value = Outer(np.array([1, 2]), Inner(np.array([3.0])), "sums")
    doubled = map_arrays(lambda array: 2 * array, value)
    np.testing.assert_array_equal(doubled.counts, [2, 4])
    np.testing.assert_array_equal(doubled.inner.values, [6.0])
    assert doubled.name == "sums"
    assert value.counts[0] == 1


def test_only_arrays_and_dataclasses_are_mapped():
    with pytest.raises(TypeError, match="expected an array or a dataclass of arrays, not list"):
        map_arrays(np.sum, [1, 2])


def test_one_rank_gets_back_what_it_gives():
    comm = SerialCommunicator()
    array = np.arange(3)
    assert comm.is_root and comm.size == 1 and comm.rank == 0 and comm.local_rank == 0
    assert comm.sum(array) is array
    assert comm.gather_rows(array) is array
    assert comm.broadcast("text") == "text"
    assert comm.split(1) is comm
    comm.barrier()
    with pytest.raises(SystemExit) as ended:
        comm.abort(3)
    assert ended.value.code == 3


@pytest.fixture
def no_launcher(monkeypatch):
    for name in mpi._RANK_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delitem(mpi.sys.modules, "mpi4py", raising=False)


def test_without_a_launcher_mpi_is_not_touched(no_launcher):
    assert isinstance(mpi.open_communicator(), SerialCommunicator)
    assert isinstance(mpi.open_communicator(1), SerialCommunicator)
    assert "mpi4py" not in mpi.sys.modules


def test_one_rank_started_with_mpi4py_needs_no_mpi_library(no_launcher, monkeypatch):
    # As where libmpi is missing: mpi4py is there, but its MPI cannot be imported.
    monkeypatch.setitem(mpi.sys.modules, "mpi4py", ModuleType("mpi4py"))
    assert isinstance(mpi.open_communicator(1), SerialCommunicator)
    with pytest.raises(ConfigError, match="pip install mpi4py mpich"):
        mpi.open_communicator(2)


def test_under_a_launcher_without_mpi4py_the_way_out_is_told(no_launcher, monkeypatch):
    monkeypatch.setenv("PMI_RANK", "0")
    monkeypatch.setitem(mpi.sys.modules, "mpi4py", None)
    with pytest.raises(ConfigError, match="pip install mpi4py mpich"):
        mpi.open_communicator()
