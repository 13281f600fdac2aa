# SPDX-License-Identifier: GPL-3.0-or-later
"""Parameters of the 3D program: particle-filter refinement and classification."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, List

from cryoralib_plugin.contract._param import ConfigError, param
from cryoralib_plugin.contract.compute import Compute
from cryoralib_plugin.contract.particle_filter import ParticleFilter
from cryoralib_plugin.contract.preprocess import Preprocess
from cryoralib_plugin.contract.reconstruction import MapMask, Reconstruction
from cryoralib_plugin.contract.symmetry import parse_symmetry


@dataclass(frozen=True)
class Refine3DFiles:
    """Files a 3D refinement reads and the folder it fills."""

    title: ClassVar[str] = "Files"
    in_form: ClassVar[bool] = False

    particles_file: str = param(
        "",
        label="Particles",
        help="RELION STAR file or THUNDER .thu file with the particle images and their CTF.",
        required=True,
    )
    pixel_size_angst: float = param(
        0.0,
        label="Pixel size",
        help="Of the images on disk, where neither the STAR file nor the headers of the stacks "
        "tell it, as with .thu files. 0: as the files tell.",
        unit="A",
        minimum=0.0,
        maximum=100.0,
    )
    reference_file: str = param(
        "",
        label="Initial map",
        help="MRC file with the map to start from. Its box and pixel size may differ from those "
        "of the particles: it is resampled. Left empty, the start is made from the particles.",
    )
    mask_file: str = param(
        "",
        label="Mask",
        help="MRC file with a mask between 0 and 1, used where the mask of the map is given.",
    )
    output_dir: str = param(
        "run", label="Output folder", help="Folder that receives every file of the run."
    )


@dataclass(frozen=True)
class Reference:
    """What the refinement starts from."""

    title: ClassVar[str] = "Reference"

    n_classes: int = param(
        1,
        label="Number of classes",
        help="1 refines one map from two independent halves. More sort particles into maps.",
        minimum=1,
        maximum=100,
    )
    symmetry: str = param(
        "C1",
        label="Symmetry",
        help="Point group of the molecule in RELION's setting: C1, C4, D7, T, O, I1 to I4 (I is "
        "I2). The initial map must lie in it.",
        required=True,
    )
    initial_resolution_angst: float = param(
        60.0,
        label="Initial resolution",
        help="Detail of the initial map finer than this is not used: it would be found again in "
        "the result whether it is in the particles or not.",
        unit="A",
        minimum=1.0,
        maximum=1000.0,
    )
    reference_scale_known: bool = param(
        False,
        label="Map is on absolute scale",
        help="The grey values of the initial map are those of the particles, as after a refinement "
        "of the same images. Off: they are fitted once, at the start.",
        expert=True,
    )
    lowest_resolution_angst: float = param(
        200.0,
        label="Ignore detail above",
        help="Coarser detail, where ice and dust prevail, does not count in comparisons.",
        unit="A",
        minimum=10.0,
        maximum=100000.0,
        expert=True,
    )
    start_from_poses: bool = param(
        False,
        label="Start from given poses",
        help="Start from the angles and shifts in the particle file, and from its halves, in place "
        "of a global search. Particles without a pose are searched globally in the first round.",
    )


@dataclass(frozen=True)
class Stages:
    """What is searched, in which order, and when the cut-off grows."""

    title: ClassVar[str] = "Stages"

    global_search: bool = param(
        True,
        label="Global search",
        help="Scan all rotations in every round until the cut-off of this stage is reached.",
    )
    local_search: bool = param(
        True,
        label="Local search",
        help="Then move support points near the pose of each particle while resolution improves.",
    )
    defocus_search: bool = param(
        False,
        label="Defocus search",
        help="At last, refine the defocus of each particle together with its pose.",
    )
    maximum_rounds: int = param(
        100,
        label="Rounds at most",
        help="The run ends by itself when no stage improves the resolution any more.",
        minimum=1,
        maximum=1000,
    )
    global_resolution_angst: float = param(
        15.0,
        label="Global search to",
        help="Cut-off at which the global stage ends. It ends earlier where a coarser one fixes "
        "all angles already: a quarter of the particle's radius over the cube root of the order.",
        unit="A",
        minimum=1.0,
        maximum=1000.0,
        when="global_search",
    )
    highest_resolution_angst: float = param(
        0.0,
        label="Finest cut-off",
        help="The cut-off never grows beyond this; 0: two shells below Nyquist.",
        unit="A",
        minimum=0.0,
        maximum=1000.0,
        expert=True,
    )
    cutoff_fsc: float = param(
        0.7,
        label="FSC of the cut-off",
        help="Correlation of the half maps up to which shells are counted when the cut-off grows "
        "after the global stage. Particles compared with shells that are much noise are aligned to "
        "that noise, and the map gets worse there. The global stage uses every shell that is "
        "resolved.",
        minimum=0.01,
        maximum=0.9,
        expert=True,
    )
    resolution_fsc: float = param(
        0.143,
        label="FSC of the resolution",
        help="Correlation of the half maps at which the resolution is reported.",
        minimum=0.01,
        maximum=0.9,
        expert=True,
    )
    growth_margin_px: int = param(
        0,
        label="Growth margin",
        help="Shells beyond the last of those that the next round may use.",
        unit="px",
        minimum=0,
        maximum=100,
        expert=True,
    )
    patience_rounds: int = param(
        2,
        label="Rounds without gain",
        help="A stage ends after so many rounds without a finer resolution or cut-off, while no "
        "fewer particles change their pose or class; those before a local stage count too.",
        minimum=1,
        maximum=100,
        expert=True,
    )
    smallest_class_share: float = param(
        0.05,
        label="Smallest class",
        help="A class with less than this share of an even one takes half of the largest class.",
        minimum=0.0,
        maximum=0.9,
        expert=True,
        when="n_classes > 1",
    )


@dataclass(frozen=True)
class Refine3DConfig:
    """Everything a 3D refinement needs to know (program ``refine3d``)."""

    program: ClassVar[str] = "refine3d"

    files: Refine3DFiles = field(default_factory=Refine3DFiles)
    reference: Reference = field(default_factory=Reference)
    stages: Stages = field(default_factory=Stages)
    filter: ParticleFilter = field(default_factory=ParticleFilter)
    mask: MapMask = field(default_factory=MapMask)
    reconstruction: Reconstruction = field(default_factory=Reconstruction)
    preprocess: Preprocess = field(default_factory=Preprocess)
    compute: Compute = field(default_factory=Compute)

    def problems(self) -> List[str]:
        """Sentences on parameters that do not go together."""
        found = []
        try:
            parse_symmetry(self.reference.symmetry)
        except ConfigError as error:
            found.append(str(error))
        stages = self.stages
        if not (stages.global_search or stages.local_search or stages.defocus_search):
            found.append(
                "global_search, local_search and defocus_search are all off: switch one of them on"
            )
        if not (stages.global_search or self.reference.start_from_poses):
            found.append(
                "without global_search the run needs poses to start from: switch start_from_poses "
                "or global_search on"
            )
        if self.reference.start_from_poses and not (stages.local_search or stages.defocus_search):
            found.append(
                "a run from given poses needs local_search or defocus_search: switch one of them on"
            )
        found += mask_problems(self.mask.map_mask, self.files.mask_file)
        return found + self._resolution_problems() + self._filter_problems()

    def cautions(self) -> List[str]:
        """Sentences on parameters that are allowed but weaken what a run can prove."""
        start = self.reference.initial_resolution_angst
        joined = self.reconstruction.join_halves_angst
        if start >= joined > 0.0:
            return []
        shared = f"what is coarser than {joined:g} A" if joined else "nothing"
        return [
            f"both halves begin with one map to {start:g} A, but share only {shared} later: noise "
            "can keep them alike in between. Begin no finer than join_halves_angst to prove more"
        ]

    def _resolution_problems(self) -> List[str]:
        """Sentences on limits of resolution in the wrong order."""
        reference, stages = self.reference, self.stages
        found = []
        if reference.initial_resolution_angst >= reference.lowest_resolution_angst:
            found.append(
                f"initial_resolution_angst ({reference.initial_resolution_angst:g} A) must be "
                f"finer than lowest_resolution_angst ({reference.lowest_resolution_angst:g} A): "
                "nothing is left to compare between them"
            )
        if stages.highest_resolution_angst > reference.initial_resolution_angst:
            found.append(
                f"highest_resolution_angst ({stages.highest_resolution_angst:g} A) must not be "
                f"coarser than initial_resolution_angst ({reference.initial_resolution_angst:g} A)"
            )
        if stages.global_search and (
            stages.global_resolution_angst > reference.initial_resolution_angst
        ):
            found.append(
                f"global_resolution_angst ({stages.global_resolution_angst:g} A) must not be "
                f"coarser than initial_resolution_angst ({reference.initial_resolution_angst:g} A)"
            )
        return found

    def _filter_problems(self) -> List[str]:
        """Sentences on phases that end before they may."""
        filter = self.filter
        if filter.highest_phases >= filter.lowest_phases:
            return []
        return [
            f"highest_phases ({filter.highest_phases}) must be at least lowest_phases "
            f"({filter.lowest_phases})"
        ]


def mask_problems(map_mask: str, mask_file: str) -> List[str]:
    """Sentences on a mask file that is missing or would not be used."""
    if map_mask == "given" and not mask_file.strip():
        return ["map_mask is 'given', but mask_file is empty: name the mask file"]
    if mask_file.strip() and map_mask != "given":
        return [
            f"mask_file is given, but map_mask is {map_mask!r}: set it to 'given', or leave the "
            "file out"
        ]
    return []
