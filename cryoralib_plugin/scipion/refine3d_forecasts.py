# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be said of a filled 3D form before it runs: what will fail, and what to expect."""

from __future__ import annotations

from typing import Any, List, Tuple

from pwem.constants import ALIGN_PROJ

from cryoralib_plugin.contract.symmetry import parse_symmetry

from .forecasts import image_problems, process_problems, process_warnings
from .set_reader import MATRIX, SetReader, open_reader
from .volumes import map_problems, mask_range_problems, resampling_note

_LARGEST_KV = 2000.0
_LEAST_DEFOCUS_ANGST = 50.0
_FEW_FOR_A_MAP = 100
_HALF = "_rlnRandomSubset"
REFERENCE, MASK = "initial map", "mask"


def problems(protocol: Any, config: Any) -> List[str]:
    """Sentences on what makes a refinement fail; none if it can be started."""
    found = [*process_problems(protocol), *image_problems(protocol, config)]
    sizes = protocol.sizes()
    if sizes is None:
        return found
    particles = protocol.input_particles()
    reader = open_reader(particles)
    found += [*ctf_problems(particles, reader), *_size_problems(config, sizes)]
    if config.reference.start_from_poses:
        found += [*pose_problems(particles, reader), *half_problems(reader)]
    reference, mask = protocol.reference_volume(), protocol.mask_volume()
    if reference is not None:
        found += map_problems(reference, REFERENCE)
    if mask is not None:
        wrong = map_problems(mask, MASK)
        found += wrong or mask_range_problems(mask)
    return found


def warnings(protocol: Any, config: Any) -> List[str]:
    """Sentences on what the user should know before a refinement is started."""
    found = process_warnings(protocol)
    sizes = protocol.sizes()
    if sizes is None:
        return found
    n_particles, box, pixel_size = sizes
    particles = protocol.input_particles()
    for volume, name in ((protocol.reference_volume(), REFERENCE), (protocol.mask_volume(), MASK)):
        if volume is not None and not map_problems(volume, name):
            found += resampling_note(volume, name, box, pixel_size)
    if config.reference.start_from_poses:
        without = open_reader(particles).extent(MATRIX).n_missing
        if without:
            found.append(
                f"{without} of {n_particles} particles have no pose: they are searched globally "
                "in the first round."
            )
    elif protocol.reference_volume() is None:
        found.append(
            "Without an initial map the start is made from the particles: that can end in a wrong "
            "map, most of all for small or symmetric molecules. Compare two seeds, or give a map."
        )
    symmetric = parse_symmetry(config.reference.symmetry) != ("C", 1)
    if symmetric and protocol.reference_volume() is not None:
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


def pose_problems(particles: Any, reader: SetReader) -> List[str]:
    """A sentence where particles have no projection directions at all."""
    if particles.getAlignment() == ALIGN_PROJ and reader.extent(MATRIX).highest is not None:
        return []
    return [
        "The particles have no projection directions to start from: choose particles of a 3D "
        "refinement, or switch Start from given poses off."
    ]


def _size_problems(config: Any, sizes: Tuple[int, int, float]) -> List[str]:
    """Sentences on lengths that do not fit the particles."""
    n_particles, box, pixel_size = sizes
    nyquist, side = 2 * pixel_size, box * pixel_size
    found = []
    for label, value in (
        ("Initial resolution", config.reference.initial_resolution_angst),
        ("Finest cut-off", config.stages.highest_resolution_angst),
    ):
        if 0 < value < nyquist:
            found.append(
                f"{label} ({value:g} Å) must not be finer than twice the pixel size, {nyquist:g} Å."
            )
    diameter = config.mask.particle_diameter_angst
    if diameter > side:
        found.append(
            f"Particle diameter ({diameter:g} Å) must not exceed the box, which is {side:g} Å wide."
        )
    needed = 4 * config.reference.n_classes
    if n_particles < needed:
        found.append(
            f"{config.reference.n_classes} map(s) of two halves need at least {needed} particles, "
            f"but there are {n_particles}."
        )
    return found
