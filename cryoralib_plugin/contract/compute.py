# SPDX-License-Identifier: GPL-3.0-or-later
"""Where and how the work is done; shared by the programs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cryoralib_plugin.contract._param import param


@dataclass(frozen=True)
class Compute:
    """Where and how the work is done; the result does not depend on it."""

    title: ClassVar[str] = "Compute"
    in_form: ClassVar[bool] = True

    backend: str = param(
        "auto",
        label="Backend",
        help="auto: a CUDA device if there is one, else the processor.",
        choices=("auto", "cpu", "cuda"),
    )
    gpus: str = param(
        "",
        label="GPUs",
        help="Device numbers, such as '0 1'; ranks of one node take them in turn. Empty: all.",
        expert=True,
    )
    threads: int = param(
        0,
        label="Threads per rank",
        help="0: as many as there are cores for this rank.",
        minimum=0,
        maximum=1024,
    )
    batch_size: int = param(
        0,
        label="Batch size",
        help="Images that are worked on together; 0: computed from the memory.",
        minimum=0,
        maximum=10000000,
        expert=True,
    )
    memory_gib: float = param(
        0.0,
        label="Memory per rank",
        help="Memory one rank may take; 0: a share of what the machine has.",
        unit="GiB",
        minimum=0.0,
        maximum=100000.0,
        expert=True,
    )
    random_seed: int = param(
        1000,
        label="Random seed",
        help="The same seed and the same particles give the same result, however many ranks or "
        "batches are used.",
        minimum=0,
        maximum=2147483647,
        expert=True,
    )
    expected_ranks: int = param(
        0,
        label="Expected MPI ranks",
        help="The run is refused unless it consists of this many ranks: a wrong mpirun starts "
        "every rank as a run of its own. 0: not checked.",
        minimum=0,
        maximum=100000,
        expert=True,
    )
    resume: bool = param(
        False,
        label="Continue",
        help="Go on from the last whole iteration in the output folder.",
        expert=True,
    )
