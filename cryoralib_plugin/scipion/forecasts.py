# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be said of a filled form before it runs: what will fail, and what to expect."""

from __future__ import annotations

import os
import shutil
from typing import Any, List, Optional

from cryoralib_plugin.contract._param import ConfigError
from cryoralib_plugin.contract.plan import GIB, MEMORY_SHARE, MemoryPlan, forecast, workload_of
from cryoralib_plugin.contract.schedule import outer_radius, shift_stages

from .hardware import Hardware, this_machine
from .images import path_of_stack

_FEW_MEMBERS = 20
_LONG_RUN_S, _VERY_LONG_RUN_S = 600.0, 4 * 3600.0
_LARGE_SHARE = 0.5


def problems(protocol: Any, config: Any) -> List[str]:
    """Sentences on what makes the run fail; none if it can be started."""
    found = _ranks_and_gpus(protocol)
    sizes = protocol.sizes()
    if sizes is None:
        return [*found, "The input set has no images: choose a set with particles."]
    n_particles, box, _ = sizes
    particles = protocol.input_particles()
    if config.preprocess.downsample_box_px > particles.getXDim():
        found.append(
            f"Down-sample to box ({config.preprocess.downsample_box_px} px) must not be larger "
            f"than the particles' box ({particles.getXDim()} px)."
        )
    try:
        outer_radius(config.search, box)
    except ConfigError as error:
        found.append(str(error))
    if particles.getXDim() != particles.getDim()[1]:
        found.append(f"Particles must be square, not {particles.getDim()[:2]} px.")
    if config.ctf.ctf_correction != "none" and not particles.hasCTF():
        found.append(
            f"CTF correction is {config.ctf.ctf_correction}, but the particles have no CTF: "
            "estimate it, or choose none."
        )
    first = particles.getFirstItem()
    stack = path_of_stack(first.getFileName())
    if not os.path.exists(stack):
        found.append(f"The image stack {stack} does not exist: it was moved, or its disk is away.")
    if n_particles < 1:
        found.append("The input set is empty.")
    return found


def warnings(protocol: Any, config: Any) -> List[str]:
    """Sentences on what the user should know before the run is started.

    Scipion asks whether to go on whenever there is one, so the forecast of memory and time is
    among them only where the run is long or large; the summary shows it in any case.
    """
    found = []
    hardware = this_machine()
    n_ranks, n_threads = protocol.numberOfMpi.get(), protocol.numberOfThreads.get()
    here = not protocol.useQueue()
    if here and n_ranks * n_threads > hardware.n_cores:
        found.append(
            f"{n_ranks} MPIs with {n_threads} threads each are more than the {hardware.n_cores} "
            "cores of this machine: they will wait for each other."
        )
    if here and protocol.usesGpu() and not hardware.gpu_bytes:
        found.append("A GPU is asked for, but this machine shows none: the run will be refused.")
    particles = protocol.input_particles()
    if particles is not None and particles.isPhaseFlipped():
        if config.ctf.ctf_correction != "none":
            found.append(
                "The particles are phase-flipped already; their CTF is then taken as positive."
            )
    found += _few_members(protocol, config)
    plan = plan_of(protocol, config)
    if plan is not None:
        if here:
            found += _too_large(plan, n_ranks, protocol, hardware)
        rounds = n_rounds(config)
        total = plan.seconds_per_iteration * rounds
        if total > _LONG_RUN_S or plan.host_bytes * n_ranks > _LARGE_SHARE * hardware.host_bytes:
            found.insert(0, f"Forecast: {plan.in_words}, {rounds} iterations.")
        if total > _VERY_LONG_RUN_S:
            found.append(
                "Down-sampling to a box of 64 to 100 px, a smaller shift range or a GPU shorten "
                "the run."
            )
    return found


def plan_of(protocol: Any, config: Any) -> Optional[MemoryPlan]:
    """Memory and time of the filled form; None while it cannot be told."""
    particles = protocol.input_particles()
    if particles is None or not particles.getXDim():
        return None
    hardware = this_machine()
    n_ranks = protocol.numberOfMpi.get()
    usable = int(MEMORY_SHARE * hardware.host_bytes / n_ranks)
    try:
        work = workload_of(
            config,
            n_particles=particles.getSize(),
            image_box_px=particles.getXDim(),
            n_classes=protocol.number_of_classes(config),
            n_ranks=n_ranks,
            threads=protocol.numberOfThreads.get(),
            backend="cuda" if protocol.usesGpu() else "cpu",
            memory_bytes=int(config.compute.memory_gib * GIB) or usable,
            device_bytes=min(hardware.gpu_bytes, default=0),
        )
    except ConfigError:
        return None
    return forecast(work)


def n_rounds(config: Any) -> int:
    """Iterations of a whole run: RFA counts them per stage."""
    stages = len(shift_stages(config.search)) if config.program == "rfa" else 1
    return config.search.n_iterations * stages


def _too_large(plan: MemoryPlan, n_ranks: int, protocol: Any, hardware: Hardware) -> List[str]:
    """Sentences on memory that this machine does not have."""
    found = []
    if plan.host_bytes * n_ranks > hardware.host_bytes:
        parts = sorted(plan.parts.items(), key=lambda part: -part[1])
        found.append(
            f"{n_ranks} MPIs need {plan.host_bytes * n_ranks / GIB:.1f} GiB of memory, but this "
            f"machine has {hardware.host_bytes / GIB:.1f} GiB; most of it goes to {parts[0][0]} "
            f"({parts[0][1] / GIB:.1f} GiB per MPI)."
        )
    if protocol.usesGpu() and hardware.gpu_bytes and protocol.getGpuList():
        per_gpu = -(-n_ranks // len(set(protocol.getGpuList())))
        smallest = min(hardware.gpu_bytes)
        if plan.device_bytes * per_gpu > smallest:
            found.append(
                f"{per_gpu} MPIs on one GPU need {plan.device_bytes * per_gpu / GIB:.1f} GiB, but "
                f"it has {smallest / GIB:.1f} GiB: lower the batch size or use one MPI per GPU."
            )
    return found


def _ranks_and_gpus(protocol: Any) -> List[str]:
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


def _few_members(protocol: Any, config: Any) -> List[str]:
    """A warning where classes would have too few members to average the noise away."""
    n_classes = protocol.number_of_classes(config)
    sizes = protocol.sizes()
    if n_classes == 1 or sizes is None:
        return []
    members = sizes[0] / n_classes
    if members >= _FEW_MEMBERS:
        return []
    return [
        f"{n_classes} classes of {sizes[0]} particles leave {members:.0f} particles for a class "
        f"on average; below {_FEW_MEMBERS} averages are mostly noise."
    ]
