# SPDX-License-Identifier: GPL-3.0-or-later
"""Parameters of the two 2D programs: multi-reference (MRA) and reference-free alignment (RFA)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, List

from cryoralib_plugin.contract._param import param
from cryoralib_plugin.contract.compute import Compute
from cryoralib_plugin.contract.preprocess import CtfCorrection, Preprocess
from cryoralib_plugin.contract.presets import conflicts_with_preset
from cryoralib_plugin.contract.schedule import stage_problems

_RECOMMENDED = "preset == 'recommended'"


@dataclass(frozen=True)
class MultireferenceFiles:
    """Files an MRA run reads and the folder it fills."""

    title: ClassVar[str] = "Files"
    in_form: ClassVar[bool] = False

    particles_file: str = param(
        "",
        label="Particles",
        help="RELION STAR file, MRC stack or EMAN2 HDF5 stack with the particle images.",
        required=True,
    )
    references_file: str = param(
        "",
        label="Initial references",
        help="Stack with the initial references, of the same box and pixel size as the particles "
        "after down-sampling. Its number of images is then the number of classes. Left empty, "
        "references are made from random groups of equal size.",
    )
    output_dir: str = param(
        "run", label="Output folder", help="Folder that receives every file of the run."
    )


@dataclass(frozen=True)
class ReferenceFreeFiles:
    """Files an RFA run reads and the folder it fills."""

    title: ClassVar[str] = "Files"
    in_form: ClassVar[bool] = False

    particles_file: str = param(
        "",
        label="Particles",
        help="RELION STAR file, MRC stack or EMAN2 HDF5 stack with the particle images.",
        required=True,
    )
    output_dir: str = param(
        "run", label="Output folder", help="Folder that receives every file of the run."
    )
    within_classes: bool = param(
        False,
        label="Align within classes",
        help="Align the members of each class (rlnClassNumber) among themselves, all classes in "
        "one run. Off: all particles are aligned to one common average.",
    )


def _shift_range(default: str, stages: str) -> Any:
    return param(
        default,
        label="Shift range x",
        help=f"Largest change of the x shift in one iteration, in either direction; {stages}.",
        unit="px",
        numbers=True,
        required=True,
        minimum=0,
        maximum=1024,
    )


def _shift_range_y() -> Any:
    return param(
        "",
        label="Shift range y",
        help="The same in y; empty: as in x.",
        unit="px",
        numbers=True,
        minimum=0,
        maximum=1024,
        expert=True,
    )


def _shift_step() -> Any:
    return param(
        "1",
        label="Shift step",
        help="Distance of the shifts that are compared; one value, or one per stage.",
        unit="px",
        numbers=True,
        required=True,
        minimum=0.05,
        maximum=64,
        expert=True,
    )


@dataclass(frozen=True)
class _Search:
    """Rings, shifts and hands that every particle is compared at."""

    title: ClassVar[str] = "Alignment"

    preset: str = param(
        "recommended",
        label="Preset",
        help="recommended: the values of this form. sparx_compat: matching, averages and empty "
        "classes follow SPARX mref_ali2d / ali2d, to reproduce older work.",
        choices=("recommended", "sparx_compat"),
    )
    inner_radius_px: int = param(
        1,
        label="Inner radius",
        help="Radius of the innermost ring that is compared.",
        unit="px",
        minimum=1,
        maximum=2048,
        expert=True,
    )
    outer_radius_px: int = param(
        0,
        label="Outer radius",
        help="Radius of the particle, in pixels of the box that is aligned; the outermost ring. "
        "0: half the box, minus 2 px, minus the largest shift range. The wizard shows it on an "
        "image.",
        unit="px",
        minimum=0,
        maximum=2048,
    )
    ring_step_px: int = param(
        1,
        label="Ring step",
        help="Distance between neighbouring rings.",
        unit="px",
        minimum=1,
        maximum=64,
        expert=True,
    )
    mirror: bool = param(
        True,
        label="Search mirrored views",
        help="Compare every particle with the mirror image of each reference as well. Projections "
        "from opposite sides are mirror images of each other.",
    )
    refine_shift: bool = param(
        True,
        label="Sub-pixel refinement",
        help="Refine the best shift with a parabola through its neighbours on the search grid, "
        "and then the angle once more.",
        expert=True,
        when=_RECOMMENDED,
    )
    normalise_particles: bool = param(
        True,
        label="Normalise particles",
        help="Bring the rings of each particle, at each shift, to mean 0 and standard deviation 1 "
        "before they are compared.",
        expert=True,
        when=_RECOMMENDED,
    )
    normalise_references: bool = param(
        True,
        label="Normalise references",
        help="Bring references to the same mean and standard deviation on the rings. Without it, "
        "the reference of highest contrast attracts particles of other views.",
        expert=True,
        when=_RECOMMENDED,
    )
    start_from_alignment: bool = param(
        False,
        label="Start from given alignment",
        help="Start from the angles, shifts and hands in the particle file, as when an earlier "
        "alignment is to be refined. Off: start from none.",
    )
    outside_frame: str = param(
        "clamp",
        label="Shifts out of the frame",
        help="What happens to a particle whose outer circle left the box. clamp: its shift goes "
        "back to the largest that fits; reset: it starts again from no shift (SPARX mref_ali2d).",
        choices=("clamp", "reset"),
        expert=True,
        when=_RECOMMENDED,
    )


@dataclass(frozen=True)
class MultireferenceSearch(_Search):
    """Search of multi-reference alignment."""

    n_classes: int = param(
        20,
        label="Number of classes",
        help="Number of class averages; 50 to 200 particles per class is a good start. When "
        "initial references are given, their number counts instead.",
        minimum=1,
        maximum=10000,
    )
    n_iterations: int = param(
        12,
        label="Iterations",
        help="Rounds of matching and averaging.",
        minimum=1,
        maximum=1000,
    )
    shift_range_px: str = _shift_range(
        "3", "a list such as '4 2 1' divides the iterations among its stages"
    )
    shift_range_y_px: str = _shift_range_y()
    shift_step_px: str = _shift_step()
    balanced_iterations: int = param(
        8,
        label="Iterations of balanced classes",
        help="Over so many iterations, classes that attract more than their share of the particles "
        "are handicapped, so that every class forms; afterwards every particle is free, and "
        "classes take the sizes of the views. In a short run, two thirds of the iterations at "
        "most. Not used when initial references are given.",
        minimum=0,
        maximum=1000,
        expert=True,
        when=_RECOMMENDED,
    )
    start_detail: float = param(
        4.0,
        label="Detail at the start",
        help="The first averages of random groups show no detail finer than the particle's "
        "diameter divided by this, so that particles are sorted by overall shape first; finer "
        "detail comes in step by step. 0: all detail from the start. Not used when initial "
        "references are given.",
        minimum=0.0,
        maximum=1000.0,
        expert=True,
        when=_RECOMMENDED,
    )
    annealing_iterations: int = param(
        8,
        label="Iterations until full detail",
        help="Over so many iterations the detail grows to what the class averages carry.",
        minimum=0,
        maximum=1000,
        expert=True,
        when=_RECOMMENDED,
    )


@dataclass(frozen=True)
class ReferenceFreeSearch(_Search):
    """Search of reference-free alignment."""

    n_iterations: int = param(
        5,
        label="Iterations per stage",
        help="Rounds of matching and averaging in each stage of the shift schedule.",
        minimum=1,
        maximum=1000,
    )
    shift_range_px: str = _shift_range("4 2 1", "one value per stage")
    shift_range_y_px: str = _shift_range_y()
    shift_step_px: str = _shift_step()


@dataclass(frozen=True)
class Averages:
    """How class averages are made into the next references."""

    title: ClassVar[str] = "Class averages"

    average_filter: str = param(
        "class_wiener",
        label="Filter of the averages",
        help="class_wiener: each average is filtered by its own Fourier ring correlation, "
        "sqrt(2 FRC / (1 + FRC)). class_tanh: a tanh low-pass fitted to the class's own curve. "
        "mean_tanh: one tanh low-pass fitted to the mean curve of all classes (SPARX). none: no "
        "filter.",
        choices=("class_wiener", "class_tanh", "mean_tanh", "none"),
        expert=True,
        when=_RECOMMENDED,
    )
    frc_in_mask: bool = param(
        True,
        label="Ring correlation in mask",
        help="Measure the Fourier ring correlation inside the particle radius only.",
        expert=True,
        when=_RECOMMENDED,
    )
    normalise_in_mask: bool = param(
        False,
        label="Normalise inside the radius",
        help="Bring each particle to mean 0 and standard deviation 1 inside the particle radius "
        "before it is averaged (SPARX mref_ali2d).",
        expert=True,
        when=_RECOMMENDED,
    )
    centring: str = param(
        "density_centre",
        label="Centring",
        help="density_centre: move each average so that the centre of what is brighter than its "
        "rim lies in the middle. phase_centre: the same with the phase centre of gravity of the "
        "average less its mean (SPARX). mean_shift: undo the mean shift of the members. none: "
        "leave averages as they are.",
        choices=("none", "phase_centre", "mean_shift", "density_centre"),
        expert=True,
        when=_RECOMMENDED,
    )
    centre_members: bool = param(
        True,
        label="Centre the members too",
        help="Apply the shift that centres an average to the shifts of its members. Without it "
        "the average moves and its particles cannot follow (SPARX).",
        expert=True,
        when=_RECOMMENDED,
    )
    empty_class: str = param(
        "split_largest",
        label="Empty classes",
        help="split_largest: a class below the minimum size takes half the members of the largest "
        "one. random_particle: it starts again from one random particle (SPARX). keep: it stays "
        "as it is.",
        choices=("split_largest", "random_particle", "keep"),
        expert=True,
        when=_RECOMMENDED,
    )
    minimum_class_size: int = param(
        4,
        label="Minimum class size",
        help="A class with fewer members counts as empty.",
        minimum=1,
        maximum=100000,
        expert=True,
    )


@dataclass(frozen=True)
class MultireferenceConfig:
    """Everything a multi-reference alignment needs to know (program ``mra``)."""

    program: ClassVar[str] = "mra"

    files: MultireferenceFiles = field(default_factory=MultireferenceFiles)
    search: MultireferenceSearch = field(default_factory=MultireferenceSearch)
    averages: Averages = field(default_factory=Averages)
    ctf: CtfCorrection = field(default_factory=CtfCorrection)
    preprocess: Preprocess = field(default_factory=Preprocess)
    compute: Compute = field(default_factory=Compute)

    def problems(self) -> List[str]:
        """Sentences on parameters that do not go together."""
        return stage_problems(self.search) + conflicts_with_preset(self)


@dataclass(frozen=True)
class ReferenceFreeConfig:
    """Everything a reference-free alignment needs to know (program ``rfa``)."""

    program: ClassVar[str] = "rfa"

    files: ReferenceFreeFiles = field(default_factory=ReferenceFreeFiles)
    search: ReferenceFreeSearch = field(default_factory=ReferenceFreeSearch)
    averages: Averages = field(default_factory=Averages)
    ctf: CtfCorrection = field(default_factory=CtfCorrection)
    preprocess: Preprocess = field(default_factory=Preprocess)
    compute: Compute = field(default_factory=Compute)

    def problems(self) -> List[str]:
        """Sentences on parameters that do not go together."""
        return stage_problems(self.search) + conflicts_with_preset(self)
