# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be said of a filled 2D form before it runs: what will fail, and what to expect."""

from __future__ import annotations

from typing import Any, List, Optional

from cryoralib_plugin.contract._param import ConfigError
from cryoralib_plugin.contract.plan import MemoryPlan, forecast, workload_of
from cryoralib_plugin.contract.schedule import outer_radius, shift_stages

from .forecasts import (
    VERY_LONG_RUN_S,
    image_problems,
    machine_of,
    plan_warnings,
    process_problems,
    process_warnings,
)

_FEW_MEMBERS = 20


def problems(protocol: Any, config: Any) -> List[str]:
    """Sentences on what makes the run fail; none if it can be started."""
    found = [*process_problems(protocol), *image_problems(protocol, config)]
    sizes = protocol.sizes()
    if sizes is None:
        return found
    try:
        outer_radius(config.search, sizes[1])
    except ConfigError as error:
        found.append(str(error))
    if config.ctf.ctf_correction != "none" and not protocol.input_particles().hasCTF():
        found.append(
            f"CTF correction is {config.ctf.ctf_correction}, but the particles have no CTF: "
            "estimate it, or choose none."
        )
    return found


def warnings(protocol: Any, config: Any) -> List[str]:
    """Sentences on what the user should know before the run is started."""
    found = process_warnings(protocol)
    particles = protocol.input_particles()
    if particles is not None and particles.isPhaseFlipped():
        if config.ctf.ctf_correction != "none":
            found.append(
                "The particles are phase-flipped already; their CTF is then taken as positive."
            )
    found += _few_members(protocol, config)
    plan = plan_of(protocol, config)
    if plan is not None:
        rounds = n_rounds(config)
        total = plan.seconds_per_iteration * rounds
        found = [*plan_warnings(protocol, plan, total, f"{rounds} iterations"), *found]
        if total > VERY_LONG_RUN_S:
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
    try:
        work = workload_of(
            config,
            n_particles=particles.getSize(),
            image_box_px=particles.getXDim(),
            n_classes=protocol.number_of_classes(config),
            **machine_of(protocol, config),
        )
    except ConfigError:
        return None
    return forecast(work)


def n_rounds(config: Any) -> int:
    """Iterations of a whole run: RFA counts them per stage."""
    stages = len(shift_stages(config.search)) if config.program == "rfa" else 1
    return config.search.n_iterations * stages


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
