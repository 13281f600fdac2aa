# SPDX-License-Identifier: GPL-3.0-or-later
"""What the two alignment protocols share: compute fields, steps, outputs, checks and words."""

from __future__ import annotations

import filecmp
import hashlib
import os
import shutil
from pathlib import Path
from typing import Any, List, Optional, Tuple

import pyworkflow.protocol.params as params
from pwem.protocols import EMProtocol
from pyworkflow.protocol.constants import GPU_LIST, USE_GPU

from cryoralib_plugin.contract._codec import flat_from_json, to_flat, to_json
from cryoralib_plugin.contract._param import ConfigError
from cryoralib_plugin.contract.compute import Compute
from cryoralib_plugin.contract.results import ResultPaths

from . import forecasts, outputs, summary
from .form import add_sections, config_of, new_problems
from .hardware import layout_for, this_machine
from .launch import run_alignment

HARDWARE = "useMyHardware"
PARTICLES, REFERENCES = "particles.star", "references.mrcs"

_NOT_OF_THE_RESULT = (
    "backend", "gpus", "threads", "batch_size", "memory_gib", "expected_ranks", "resume", "cache",
)  # fmt: skip
"""Parameters that change how a result is reached, but not the result."""


class Align2DProtocol(EMProtocol):
    """Base of the protocols that run an alignment program on particles."""

    config_class: type
    """The program's parameters (class attribute of the protocol)."""

    # --- form ------------------------------------------------------------------------------

    def _add_compute_fields(self, form: params.Form) -> None:
        """Scipion's own fields for GPUs; threads and MPIs follow at the end of the form."""
        form.addHidden(
            USE_GPU,
            params.BooleanParam,
            default=this_machine().n_gpus > 0,
            label="Use GPU for execution",
            help="Yes: every MPI process uses one of the GPUs listed. No: the processors are used.",
        )
        form.addHidden(
            GPU_LIST,
            params.StringParam,
            default="0",
            label="GPU IDs",
            help="Numbers of the GPUs, such as 0 1; the MPI processes take them in turn.",
        )

    def _add_parameters(self, form: params.Form) -> None:
        """The sections made from the declared parameters, and the number of processes."""
        add_sections(form, self.config_class, lead={Compute.title: _add_hardware_field})
        form.addParallelSection(threads=layout_for(this_machine()).n_threads, mpi=1)

    # --- steps -----------------------------------------------------------------------------

    def _insertAllSteps(self) -> None:
        # A finished step is repeated only if its own arguments change, whatever came before it.
        identity = self._input_identity()
        digest = self._digest()
        self._insertFunctionStep(self.convertInputStep, identity, needsGPU=False)
        self._insertFunctionStep(self.alignStep, identity, digest, needsGPU=self.usesGpu())
        self._insertFunctionStep(self.createOutputStep, identity, digest, needsGPU=False)

    def convertInputStep(self, identity: str) -> None:
        """Write the particles for the engine; results of other particles are removed.

        The step is repeated whenever the input's database was touched, which a copy of the
        project does too: results are kept where the particles turn out to be the same.
        """
        fresh = Path(self._getExtraPath("input_new"))
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        self._write_input(fresh)
        if not _same_files(fresh, self.input_dir):
            shutil.rmtree(self.run_dir, ignore_errors=True)
        shutil.rmtree(self.input_dir, ignore_errors=True)
        fresh.rename(self.input_dir)

    def alignStep(self, identity: str, digest: str) -> None:
        """Run the alignment; go on from the last whole iteration if there is one."""
        config = self.config()
        resume = self._can_resume(config)
        if not resume:
            shutil.rmtree(self.run_dir, ignore_errors=True)
        config_file = Path(self._getExtraPath("config.json"))
        config_file.write_text(to_json(config), encoding="utf-8")
        run_alignment(self, config.program, config_file, self.run_dir, resume=resume)

    def createOutputStep(self, identity: str, digest: str) -> None:
        """Make Scipion's sets from the last iteration."""
        run = outputs.read_run(self.run_dir)
        star_file = ResultPaths(self.run_dir).data_star(run.iteration)
        particles = self.input_particles()
        assignments = outputs.read_assignments(star_file, particles.getSamplingRate())
        self._create_outputs(run, assignments)

    def _create_outputs(self, run: outputs.RunOutput, assignments: outputs.Assignments) -> None:
        """Classes, averages and particles, each with its sources."""
        pointer = self.particles_pointer()
        classes = self._createSetOfClasses2D(pointer)
        outputs.fill_classes(classes, assignments, run)
        averages = self._createSetOfAverages()
        outputs.fill_averages(averages, run)
        particles = self._createSetOfParticles()
        outputs.fill_particles(particles, self.input_particles(), assignments)
        self._defineOutputs(
            outputClasses=classes, outputAverages=averages, outputParticles=particles
        )
        self._defineTransformRelation(pointer, particles)
        for source in self.sources():
            self._defineSourceRelation(source, classes)
            self._defineSourceRelation(source, averages)

    # --- what the protocols define ------------------------------------------------------------

    def _write_input(self, folder: Path) -> None:
        """Write PARTICLES, and whatever else the program reads, into a folder."""
        raise NotImplementedError

    def particles_pointer(self) -> Any:
        """The pointer to the set of particles that is aligned."""
        raise NotImplementedError

    def sources(self) -> List[Any]:
        """The pointers that the outputs come from."""
        raise NotImplementedError

    def number_of_classes(self, config: Any) -> int:
        """The classes that the run will have."""
        raise NotImplementedError

    def files(self) -> dict:
        """The values of the config's group `files` beside particles and output folder."""
        return {}

    # --- what the steps, viewers and wizards ask ------------------------------------------------

    @property
    def run_dir(self) -> Path:
        """The engine's run directory."""
        return Path(self._getExtraPath("run"))

    @property
    def input_dir(self) -> Path:
        """What the engine reads: the particles, and references if there are any."""
        return Path(self._getExtraPath("input"))

    @property
    def image_folder(self) -> Path:
        """Stacks that had to be converted for the engine."""
        return Path(self._getExtraPath("images"))

    def getGpuList(self) -> List[int]:
        """The GPUs to use; none without GPU, or a queue would be asked for some in vain."""
        return super().getGpuList() if self.usesGpu() else []

    def input_particles(self) -> Any:
        """The set of particles that is aligned."""
        return self.particles_pointer().get()

    def config(self) -> Any:
        """The program's parameters from the filled form; ConfigError where they do not fit."""
        return config_of(
            self,
            self.config_class,
            particles_file=str(self.input_dir / PARTICLES),
            output_dir=str(self.run_dir),
            **self.files(),
        )

    def sizes(self) -> Optional[Tuple[int, int, float]]:
        """Particles, box in px and pixel size in angst after down-sampling; None without input."""
        particles = self.input_particles()
        if particles is None or not particles.getXDim():
            return None
        box, pixel_size = particles.getXDim(), particles.getSamplingRate()
        wanted = self.getAttributeValue("downsampleBoxPx", 0) or box
        return particles.getSize(), wanted, pixel_size * box / wanted

    def _input_identity(self) -> str:
        """What makes the input this input and no other."""
        parts = []
        for pointer in self.sources():
            found = pointer.get()
            changed = os.path.getmtime(found.getFileName())
            parts.append(f"{found.strId()}:{found.getSize()}:{changed:.0f}")
        return " ".join(parts)

    def _digest(self) -> str:
        """A short name of the parameters that the result depends on."""
        values = {
            name: value
            for name, value in sorted(to_flat(self.config()).items())
            if name not in _NOT_OF_THE_RESULT
        }
        return hashlib.sha256(repr(values).encode()).hexdigest()[:16]

    def _can_resume(self, config: Any) -> bool:
        """Whether the run directory holds iterations of the same parameters, or of fewer rounds."""
        paths = ResultPaths(self.run_dir)
        if paths.last_iteration() is None:
            return False
        try:
            text = paths.config_json.read_text(encoding="utf-8")
            earlier = flat_from_json(text, self.config_class)
        except (OSError, ConfigError):
            return False
        ignored = (*_NOT_OF_THE_RESULT, "n_iterations")
        return all(
            earlier.get(name) == value
            for name, value in to_flat(config).items()
            if name not in ignored
        )

    # --- words ---------------------------------------------------------------------------------

    def _validate(self) -> List[str]:
        try:
            config = self.config()
        except ConfigError as error:
            return new_problems(self, self.config_class, error)
        return [*forecasts.problems(self, config), *self._more_problems(config)]

    def _more_problems(self, config: Any) -> List[str]:
        """Sentences on what only this protocol asks for."""
        return []

    def _warnings(self) -> List[str]:
        try:
            return forecasts.warnings(self, self.config())
        except ConfigError:
            return []  # _validate says what is wrong

    def _summary(self) -> List[str]:
        found = summary.lines(self.run_dir)
        if found:
            return found
        try:
            config = self.config()
            plan = forecasts.plan_of(self, config)
        except ConfigError:
            return ["The form is not filled in yet."]
        if plan is None:
            return ["No iteration is finished yet."]
        return [f"Forecast: {plan.in_words}, {forecasts.n_rounds(config)} iterations."]

    def _citations(self) -> List[str]:
        return ["Chung2020"]


def _same_files(first: Path, second: Path) -> bool:
    """Whether two folders hold the same files, byte for byte."""
    if not second.is_dir():
        return False
    names = sorted(path.name for path in first.iterdir())
    if names != sorted(path.name for path in second.iterdir()):
        return False
    return all(filecmp.cmp(first / name, second / name, shallow=False) for name in names)


def _add_hardware_field(form: params.Form) -> None:
    """The line that carries the wizard for this machine's hardware."""
    form.addParam(
        HARDWARE,
        params.LabelParam,
        label="Use my hardware",
        help="The wizard looks for the GPUs, processor cores and memory of this machine and fills "
        "in GPUs, MPIs, threads and the batch size.",
    )
