# SPDX-License-Identifier: GPL-3.0-or-later
"""What any filled form can be checked for before it runs: processes, GPUs, memory, images."""

from __future__ import annotations

import os
import shutil
from typing import Any, List

from cryoralib_plugin.contract.plan import GIB, MEMORY_SHARE, MemoryPlan

from . import hardware
from .images import path_of_stack

LONG_RUN_S, VERY_LONG_RUN_S = 600.0, 4 * 3600.0
_LARGE_SHARE = 0.5


def image_problems(protocol: Any, config: Any) -> List[str]:
    """Sentences on particles whose images cannot be worked on."""
    particles = protocol.input_particles()
    if protocol.sizes() is None:
        return ["The input set has no images: choose a set with particles."]
    found = []
    if config.preprocess.downsample_box_px > particles.getXDim():
        found.append(
            f"Down-sample to box ({config.preprocess.downsample_box_px} px) must not be larger "
            f"than the particles' box ({particles.getXDim()} px)."
        )
    if particles.getXDim() != particles.getDim()[1]:
        found.append(f"Particles must be square, not {particles.getDim()[:2]} px.")
    first = particles.getFirstItem()
    stack = path_of_stack(first.getFileName())
    if not os.path.exists(stack):
        found.append(f"The image stack {stack} does not exist: it was moved, or its disk is away.")
    if particles.getSize() < 1:
        found.append("The input set is empty.")
    return found


def process_problems(protocol: Any) -> List[str]:
    """Sentences on MPIs, threads and GPUs that do not make sense."""
    found = []
    if (protocol.numberOfMpi.get() or 0) < 1 or (protocol.numberOfThreads.get() or 0) < 1:
        found.append("MPIs and threads must be at least 1.")
    elif protocol.numberOfMpi.get() > 1 and not protocol.useQueue():
        environ = protocol.getPlugin().getEnviron()
        custom = any(name.startswith("PARALLEL_COMMAND") for name in environ)
        if not custom and shutil.which("mpirun", path=environ["PATH"]) is None:
            found.append(
                "More than one MPI needs mpirun, which was not found: install it with "
                "'pip install mpich' in Scipion's environment, or set MPIs to 1."
            )
    if protocol.usesGpu():
        try:
            if not protocol.getGpuList():
                found.append("GPU IDs is empty: name the GPUs, such as 0 1, or switch GPUs off.")
        except ValueError:
            found.append(
                f"GPU IDs must be numbers such as 0 1 or 0-3, not {protocol.gpuList.get()!r}."
            )
    return found


def process_warnings(protocol: Any) -> List[str]:
    """Sentences on processes and GPUs that this machine does not have."""
    if protocol.useQueue():
        return []
    found = []
    machine = hardware.this_machine()
    n_ranks, n_threads = protocol.numberOfMpi.get(), protocol.numberOfThreads.get()
    if n_ranks * n_threads > machine.n_cores:
        found.append(
            f"{n_ranks} MPIs with {n_threads} threads each are more than the {machine.n_cores} "
            "cores of this machine: they will wait for each other."
        )
    if protocol.usesGpu() and not machine.gpu_bytes:
        found.append("A GPU is asked for, but this machine shows none: the run will be refused.")
    return found


def plan_warnings(protocol: Any, plan: MemoryPlan, total_seconds: float, rounds: str) -> List[str]:
    """Sentences on a run that is long or large for this machine; `rounds` says how many there are.

    Scipion asks whether to go on whenever there is one, so the forecast of memory and time is
    among them only where the run is long or large; the summary shows it in any case.
    """
    machine = hardware.this_machine()
    n_ranks = protocol.numberOfMpi.get()
    found = []
    large = plan.host_bytes * n_ranks > _LARGE_SHARE * machine.host_bytes
    if total_seconds > LONG_RUN_S or large:
        found.append(f"Forecast: {plan.in_words}, {rounds}.")
    if protocol.useQueue():
        return found
    if plan.host_bytes * n_ranks > machine.host_bytes:
        parts = sorted(plan.parts.items(), key=lambda part: -part[1])
        found.append(
            f"{n_ranks} MPIs need {plan.host_bytes * n_ranks / GIB:.1f} GiB of memory, but this "
            f"machine has {machine.host_bytes / GIB:.1f} GiB; most of it goes to {parts[0][0]} "
            f"({parts[0][1] / GIB:.1f} GiB per MPI)."
        )
    if protocol.usesGpu() and machine.gpu_bytes and protocol.getGpuList():
        per_gpu = -(-n_ranks // len(set(protocol.getGpuList())))
        smallest = min(machine.gpu_bytes)
        if plan.device_bytes * per_gpu > smallest:
            found.append(
                f"{per_gpu} MPIs on one GPU need {plan.device_bytes * per_gpu / GIB:.1f} GiB, but "
                f"it has {smallest / GIB:.1f} GiB: lower the batch size or use one MPI per GPU."
            )
    return found


def machine_of(protocol: Any, config: Any) -> dict:
    """What a workload is told of the machine and of the form's processes."""
    machine = hardware.this_machine()
    n_ranks = protocol.numberOfMpi.get()
    usable = int(MEMORY_SHARE * machine.host_bytes / n_ranks)
    return {
        "n_ranks": n_ranks,
        "threads": protocol.numberOfThreads.get(),
        "backend": "cuda" if protocol.usesGpu() else "cpu",
        "memory_bytes": int(config.compute.memory_gib * GIB) or usable,
        "device_bytes": min(machine.gpu_bytes, default=0),
    }
