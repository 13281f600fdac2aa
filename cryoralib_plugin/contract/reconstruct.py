# SPDX-License-Identifier: GPL-3.0-or-later
"""Parameters of the program that makes a map from particles whose poses are known."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import ClassVar, List

from cryoralib_plugin.contract._param import ConfigError, param
from cryoralib_plugin.contract.compute import Compute
from cryoralib_plugin.contract.preprocess import Preprocess
from cryoralib_plugin.contract.reconstruction import (
    Gridding,
    MapMask,
    MaskOfMap,
    Reconstruction,
)
from cryoralib_plugin.contract.refine3d import (
    Reference,
    Refine3DConfig,
    Refine3DFiles,
    Stages,
    mask_problems,
)
from cryoralib_plugin.contract.symmetry import parse_symmetry


@dataclass(frozen=True)
class ReconstructFiles:
    """Files a reconstruction reads and the folder it fills."""

    title: ClassVar[str] = "Files"
    in_form: ClassVar[bool] = False

    particles_file: str = param(
        "",
        label="Particles",
        help="RELION STAR file or THUNDER .thu file with the particle images, their CTF and poses.",
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
    points_file: str = param(
        "",
        label="Support points",
        help="File run_itNNN_cloud.h5 of a refinement whose particle file this is: particles then "
        "enter at all their likely poses in place of the best one.",
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
class KnownPoses:
    """Which map the particles make up, and how they count in it."""

    title: ClassVar[str] = "Map"

    symmetry: str = param(
        "C1",
        label="Symmetry",
        help="Point group of the molecule in RELION's setting: C1, C4, D7, T, O, I1 to I4 (I is "
        "I2). The poses must belong to it.",
        required=True,
    )
    highest_resolution_angst: float = param(
        0.0,
        label="Finest detail",
        help="The map holds nothing finer; 0: two shells below Nyquist.",
        unit="A",
        minimum=0.0,
        maximum=1000.0,
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
    use_weights: bool = param(
        True,
        label="Use the particles' weights",
        help="Particles count as much as a refinement of this program found them worth. Those of "
        "other programs have no weights and count alike.",
    )


@dataclass(frozen=True)
class ReconstructConfig:
    """Everything a reconstruction needs to know (program ``reconstruct``)."""

    program: ClassVar[str] = "reconstruct"

    files: ReconstructFiles = field(default_factory=ReconstructFiles)
    reference: KnownPoses = field(default_factory=KnownPoses)
    mask: MaskOfMap = field(default_factory=MaskOfMap)
    reconstruction: Gridding = field(default_factory=Gridding)
    preprocess: Preprocess = field(default_factory=Preprocess)
    compute: Compute = field(default_factory=Compute)

    def problems(self) -> List[str]:
        """Sentences on parameters that do not go together."""
        found = mask_problems(self.mask.map_mask, self.files.mask_file)
        try:
            parse_symmetry(self.reference.symmetry)
        except ConfigError as error:
            found.insert(0, str(error))
        return found


def as_refinement(config: ReconstructConfig) -> Refine3DConfig:
    """Return the refinement whose last round, without a search, is this reconstruction."""
    files, known = config.files, config.reference
    return Refine3DConfig(
        files=Refine3DFiles(
            particles_file=files.particles_file,
            pixel_size_angst=files.pixel_size_angst,
            mask_file=files.mask_file,
            output_dir=files.output_dir,
        ),
        reference=Reference(symmetry=known.symmetry, start_from_poses=True),
        stages=Stages(
            global_search=False,
            highest_resolution_angst=known.highest_resolution_angst,
            resolution_fsc=known.resolution_fsc,
        ),
        mask=MapMask(**asdict(config.mask), flatten_solvent=False),
        reconstruction=Reconstruction(
            **asdict(config.reconstruction), join_halves_angst=0.0, join_halves_fsc=1.0
        ),
        preprocess=config.preprocess,
        compute=config.compute,
    )
