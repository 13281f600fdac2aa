# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be said of a filled 3D form before it runs: what will fail, and what to expect."""

from __future__ import annotations

from typing import Any, List, Mapping, Optional

from pwem.constants import ALIGN_PROJ

from cryoralib_plugin.contract._param import ConfigError
from cryoralib_plugin.contract.plan import MemoryPlan
from cryoralib_plugin.contract.plan3d import forecast3d, workload3d_of
from cryoralib_plugin.contract.symmetry import order_of

from .forecasts import (
    image_problems,
    machine_of,
    plan_warnings,
    process_problems,
    process_warnings,
)
from .set_reader import MATRIX, SetReader, open_reader
from .volumes import map_problems, mask_range_problems, resampling_note

_LARGEST_KV = 2000.0
_LEAST_DEFOCUS_ANGST = 50.0
_FEW_FOR_A_MAP = 100
_USUAL_ROUNDS = 20
_HALF = "_rlnRandomSubset"
REFERENCE, MASK = "initial map", "mask"


def refinement_problems(protocol: Any, config: Any) -> List[str]:
    """Sentences on what makes a refinement fail; none if it can be started."""
    found = _common_problems(protocol, config)
    sizes = protocol.sizes()
    if sizes is None:
        return found
    particles = protocol.input_particles()
    reference = config.reference
    found += _resolution_problems(
        sizes[2],
        {
            "Initial resolution": reference.initial_resolution_angst,
            "Finest cut-off": config.stages.highest_resolution_angst,
        },
    )
    if reference.start_from_poses:
        reader = open_reader(particles)
        found += [
            *pose_problems(particles, reader, "or switch Start from given poses off"),
            *half_problems(reader),
        ]
    volume = protocol.reference_volume()
    return found if volume is None else [*found, *map_problems(volume, REFERENCE)]


def reconstruction_problems(protocol: Any, config: Any) -> List[str]:
    """Sentences on what makes a reconstruction fail; none if it can be started."""
    found = _common_problems(protocol, config)
    sizes = protocol.sizes()
    if sizes is None:
        return found
    particles = protocol.input_particles()
    reader = open_reader(particles)
    return [
        *found,
        *_resolution_problems(
            sizes[2], {"Finest detail": config.reference.highest_resolution_angst}
        ),
        *pose_problems(particles, reader, "or refine these first"),
        *half_problems(reader),
    ]


def refinement_warnings(protocol: Any, config: Any) -> List[str]:
    """Sentences on what the user should know before a refinement is started."""
    found = [*common_warnings(protocol), *config.cautions()]
    sizes = protocol.sizes()
    if sizes is None:
        return found
    n_particles = sizes[0]
    if config.reference.start_from_poses:
        found += unposed_note(protocol, "searched globally in the first round")
    elif protocol.reference_volume() is None:
        found.append(
            "Without an initial map the start is made from the particles: that can end in a wrong "
            "map, most of all for small or symmetric molecules. Compare two seeds, or give a map."
        )
    if order_of(config.reference.symmetry) > 1 and protocol.reference_volume() is not None:
        found.append(
            f"The initial map must lie in RELION's setting of {config.reference.symmetry}: an axis "
            "elsewhere blurs it. The run measures it and says so in its log."
        )
    n_classes = protocol.number_of_classes(config)
    if n_particles < 2 * _FEW_FOR_A_MAP * n_classes:
        found.append(
            f"{n_particles} particles for {n_classes} map(s) of two halves each are few: below "
            f"{_FEW_FOR_A_MAP} in a half the resolution is that of noise."
        )
    plan = plan_of(protocol, config)
    if plan is None:
        return found
    total = plan.seconds_per_iteration * min(_USUAL_ROUNDS, config.stages.maximum_rounds)
    return [*plan_warnings(protocol, plan, total, rounds_in_words(config)), *found]


def plan_of(protocol: Any, config: Any) -> Optional[MemoryPlan]:
    """Memory and time of the filled form; None while it cannot be told."""
    particles = protocol.input_particles()
    if particles is None or not particles.getXDim():
        return None
    try:
        work = workload3d_of(
            config,
            n_particles=particles.getSize(),
            image_box_px=particles.getXDim(),
            pixel_size_angst=particles.getSamplingRate(),
            **machine_of(protocol, config),
        )
    except ConfigError:
        return None
    return forecast3d(work)


def rounds_in_words(config: Any) -> str:
    """How many rounds there will be: a run ends by itself."""
    most = config.stages.maximum_rounds
    return f"{most} rounds at most" if most <= _USUAL_ROUNDS else f"{_USUAL_ROUNDS} rounds or so"


def common_warnings(protocol: Any) -> List[str]:
    """Sentences on processes this machine lacks and on maps that are resampled."""
    found = process_warnings(protocol)
    sizes = protocol.sizes()
    if sizes is None:
        return found
    for volume, name in ((protocol.reference_volume(), REFERENCE), (protocol.mask_volume(), MASK)):
        if volume is not None and not map_problems(volume, name):
            found += resampling_note(volume, name, *sizes[1:])
    return found


def unposed_note(protocol: Any, what: str) -> List[str]:
    """A sentence on what becomes of particles without a pose, if there are any."""
    particles = protocol.input_particles()
    without = open_reader(particles).extent(MATRIX).n_missing
    if not without:
        return []
    return [f"{without} of {particles.getSize()} particles have no pose: they are {what}."]


def _common_problems(protocol: Any, config: Any) -> List[str]:
    """Sentences on processes, images, CTF, sizes and mask."""
    found = [*process_problems(protocol), *image_problems(protocol, config)]
    sizes = protocol.sizes()
    if sizes is None:
        return found
    particles = protocol.input_particles()
    found += ctf_problems(particles, open_reader(particles))
    n_particles, box, pixel_size = sizes
    diameter, side = config.mask.particle_diameter_angst, box * pixel_size
    if diameter > side:
        found.append(
            f"Particle diameter ({diameter:g} Å) must not exceed the box, which is {side:g} Å wide."
        )
    n_classes = protocol.number_of_classes(config)
    if n_particles < 4 * n_classes:
        found.append(
            f"{n_classes} map(s) of two halves need at least {4 * n_classes} particles, but there "
            f"are {n_particles}."
        )
    mask = protocol.mask_volume()
    if mask is not None:
        found += map_problems(mask, MASK) or mask_range_problems(mask)
    return found


def ctf_problems(particles: Any, reader: SetReader) -> List[str]:
    """Sentences on a CTF that is missing or cannot be."""
    if not particles.hasCTF():
        return ["The particles have no CTF, which maps are corrected by: estimate it first."]
    found = []
    if particles.isPhaseFlipped():
        found.append(
            "The particles are phase-flipped already: give them as they were extracted, the CTF is "
            "part of the comparison."
        )
    for name, label in (("_ctfModel._defocusU", "U"), ("_ctfModel._defocusV", "V")):
        missing, lowest, highest_angst = reader.extent(name)
        if missing:
            found.append(
                f"{missing} particles have no defocus {label}: estimate their CTF or remove them."
            )
        if lowest is not None and lowest <= 0:
            found.append(
                f"Defocus {label} must be positive (underfocus, in Å), but the lowest is "
                f"{lowest:g}: correct or remove those particles."
            )
        elif highest_angst is not None and highest_angst < _LEAST_DEFOCUS_ANGST:
            found.append(
                f"Defocus {label} must be in Å, but is {highest_angst:g} at most: it seems to be "
                "in micrometres."
            )
    voltage = particles.getAcquisition().getVoltage()
    highest = max(voltage or 0.0, reader.extent("_acquisition._voltage").highest or 0.0)
    if not voltage:
        found.append("The particles have no voltage: set it in the acquisition at their import.")
    elif highest > _LARGEST_KV:
        found.append(
            f"The voltage must be in kV, but it is {highest:g}: it seems to be in V; import the "
            "particles again with the voltage divided by 1000."
        )
    return found


def half_problems(reader: SetReader) -> List[str]:
    """A sentence where the particles carry half sets of which one is empty."""
    n_missing, lowest, highest = reader.extent(_HALF)
    if lowest is None or n_missing or (lowest, highest) == (1, 2):
        return []
    return [
        f"All particles are in half set {lowest:g} of those that they carry (rlnRandomSubset): "
        "the other one is empty, so no resolution can be measured. Choose particles of both "
        "halves, or a set without them, which is split anew."
        if lowest == highest
        else f"Half sets must be 1 and 2, but rlnRandomSubset goes from {lowest:g} to {highest:g}."
    ]


def pose_problems(particles: Any, reader: SetReader, otherwise: str) -> List[str]:
    """A sentence where particles have no projection directions at all."""
    if particles.getAlignment() == ALIGN_PROJ and reader.extent(MATRIX).highest is not None:
        return []
    return [
        "The particles have no projection directions: choose particles of a 3D refinement, "
        f"{otherwise}."
    ]


def _resolution_problems(pixel_size_angst: float, values: Mapping[str, float]) -> List[str]:
    """Sentences on resolutions that the pixels cannot hold."""
    nyquist = 2 * pixel_size_angst
    return [
        f"{label} ({value:g} Å) must not be finer than twice the pixel size, {nyquist:g} Å."
        for label, value in values.items()
        if 0 < value < nyquist
    ]
