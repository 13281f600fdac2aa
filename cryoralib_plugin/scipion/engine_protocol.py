# SPDX-License-Identifier: GPL-3.0-or-later
"""What all protocols share that run a program of the engine: compute fields, steps and resuming."""

from __future__ import annotations

import filecmp
import hashlib
import os
import shutil
from pathlib import Path
from typing import Any, ClassVar, List, Mapping, Optional, Tuple

import pyworkflow.protocol.params as params
from pwem.protocols import EMProtocol
from pyworkflow.protocol.constants import GPU_LIST, USE_GPU

from cryoralib_plugin.contract._codec import flat_from_json, to_flat, to_json
from cryoralib_plugin.contract._param import ConfigError
from cryoralib_plugin.contract.compute import Compute
from cryoralib_plugin.contract.results import ResultPaths

from .form import AddFields, add_sections, config_of
from .hardware import layout_for, this_machine
from .images import path_of_stack
from .launch import run_engine

HARDWARE = "useMyHardware"
PARTICLES = "particles.star"

_NOT_OF_THE_RESULT = (
    "backend", "gpus", "threads", "batch_size", "memory_gib", "expected_ranks", "resume", "cache",
)  # fmt: skip
"""Parameters that change how a result is reached, but not the result."""


class EngineProtocol(EMProtocol):
    """Base of the protocols that run a program of the engine on particles."""

    config_class: type
    """The program's parameters (class attribute of the protocol)."""

    rounds_parameter: ClassVar[str]
    """The parameter that says how many rounds there are: more of them continue a run."""

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

    def _add_parameters(
        self,
        form: params.Form,
        *,
        lead: Optional[Mapping[str, AddFields]] = None,
        tail: Optional[Mapping[str, AddFields]] = None,
        hidden: Tuple[str, ...] = (),
        defaults: Optional[Mapping[str, Any]] = None,
    ) -> None:
        """The sections made from the declared parameters, and the number of processes."""
        add_sections(
            form,
            self.config_class,
            lead={Compute.title: _add_hardware_field, **(lead or {})},
            tail=tail,
            hidden=hidden,
            defaults=defaults,
        )
        form.addParallelSection(threads=layout_for(this_machine()).n_threads, mpi=1)

    # --- steps -----------------------------------------------------------------------------

    def _insertAllSteps(self) -> None:
        # A finished step is repeated only if its own arguments change, whatever came before it.
        identity = self._input_identity()
        digest = self._digest()
        self._insertFunctionStep(self.convertInputStep, identity, needsGPU=False)
        self._insertFunctionStep(self.computeStep, identity, digest, needsGPU=self.usesGpu())
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

    def computeStep(self, identity: str, digest: str) -> None:
        """Run the program; go on from the last whole iteration if there is one."""
        config = self.config()
        resume = self._can_resume(config)
        if not resume:
            shutil.rmtree(self.run_dir, ignore_errors=True)
        config_file = Path(self._getExtraPath("config.json"))
        config_file.write_text(to_json(config), encoding="utf-8")
        run_engine(self, config.program, config_file, self.run_dir, resume=resume)

    def createOutputStep(self, identity: str, digest: str) -> None:
        """Make Scipion's sets from the last iteration."""
        raise NotImplementedError

    # --- what the protocols define ------------------------------------------------------------

    def _write_input(self, folder: Path) -> None:
        """Write PARTICLES, and whatever else the program reads, into a folder."""
        raise NotImplementedError

    def particles_pointer(self) -> Any:
        """The pointer to the set of particles that is worked on."""
        raise NotImplementedError

    def sources(self) -> List[Any]:
        """The pointers that the outputs come from."""
        raise NotImplementedError

    def number_of_classes(self, config: Any) -> int:
        """The classes that the run will have."""
        raise NotImplementedError

    def files(self) -> dict:
        """The values of the config that no field of the form gives, beside PARTICLES and output."""
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
        """The set of particles that is worked on."""
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
            changed = os.path.getmtime(path_of_stack(found.getFileName()))
            size = found.getSize() if hasattr(found, "getSize") else 1
            parts.append(f"{found.strId()}:{size}:{changed:.0f}")
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
        ignored = (*_NOT_OF_THE_RESULT, self.rounds_parameter)
        return all(
            earlier.get(name) == value
            for name, value in to_flat(config).items()
            if name not in ignored
        )


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
