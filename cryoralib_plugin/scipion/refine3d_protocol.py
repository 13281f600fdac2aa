# SPDX-License-Identifier: GPL-3.0-or-later
"""What the 3D protocols share: inputs, checks, outputs, words."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Optional

import pyworkflow.protocol.params as params
from pwem.constants import ALIGN_PROJ

from cryoralib_plugin.contract._param import ConfigError
from cryoralib_plugin.contract.reconstruction import MapMask
from cryoralib_plugin.contract.refine3d import Refine3DConfig

from . import outputs3d, refine3d_forecasts, summary3d
from .convert import write_particles
from .engine_protocol import PARTICLES, EngineProtocol
from .form import condition, form_params, new_problems
from .volumes import write_map

REFERENCE, MASK = "reference.mrc", "mask.mrc"


class Map3DProtocol(EngineProtocol):
    """Base of the protocols that make maps from particles with CTF."""

    def _add_particles(self, form: params.Form, asked: str, help: str) -> None:
        """The tab of inputs and the particles in it."""
        form.addSection(label="Input")
        self._add_compute_fields(form)
        form.addParam(
            "inputParticles",
            params.PointerParam,
            pointerClass="SetOfParticles",
            pointerCondition=asked,
            important=True,
            label="Input particles",
            help="Particles with their CTF, as they were extracted (neither phase-flipped nor "
            f"multiplied by the CTF). {help}",
        )

    def _add_mask(self, form: params.Form) -> None:
        """The mask at the end of its tab, shown where one is to be given."""
        form.addParam(
            "inputMask",
            params.PointerParam,
            pointerClass="VolumeMask",
            allowsNull=True,
            condition=condition("map_mask == 'given'", dict(form_params(self.config_class))),
            label="Mask",
            help="Values between 0 (solvent) and 1 (molecule) with a soft edge, centred as the map "
            "is. It is resampled where its box or pixel size is another.",
        )

    def _add_parameters(self, form: params.Form, **others: Any) -> None:
        super()._add_parameters(form, tail={MapMask.title: self._add_mask}, **others)

    # --- input -----------------------------------------------------------------------------

    def _write_input(self, folder: Path) -> None:
        write_particles(
            self.input_particles(), folder / PARTICLES, self.image_folder, poses=(ALIGN_PROJ,)
        )
        for volume, name in ((self.reference_volume(), REFERENCE), (self.mask_volume(), MASK)):
            if volume is not None:
                write_map(volume, folder / name)

    def particles_pointer(self) -> Any:
        return self.inputParticles

    def sources(self) -> List[Any]:
        pointers = [self.inputParticles]
        if self.mask_volume() is not None:
            pointers.append(self.inputMask)
        return pointers

    def reference_volume(self) -> Optional[Any]:
        """The initial map, if there is one."""
        return None

    def mask_volume(self) -> Optional[Any]:
        """The mask, if one is to be given and is."""
        return self.inputMask.get() if self.evalParamCondition("inputMask") else None

    def number_of_classes(self, config: Any) -> int:
        return 1

    def files(self) -> Dict[str, Any]:
        return {} if self.mask_volume() is None else {"mask_file": str(self.input_dir / MASK)}

    # --- output ----------------------------------------------------------------------------

    def _define_with_sources(self, **found: Any) -> None:
        """Define outputs that come from all inputs."""
        self._defineOutputs(**found)
        for output in found.values():
            for source in self.sources():
                self._defineSourceRelation(source, output)

    # --- words -----------------------------------------------------------------------------

    def _validate(self) -> List[str]:
        if self.evalParamCondition("inputMask") and self.inputMask.get() is None:
            return ["The mask of the map is to be given, but none is: choose one in the tab Mask."]
        try:
            config = self.config()
        except ConfigError as error:
            return new_problems(self, self.config_class, error)
        return self._problems(config)

    def _problems(self, config: Any) -> List[str]:
        """Sentences on what makes the run fail."""
        raise NotImplementedError

    def _citations(self) -> List[str]:
        return ["Hu2018", "Qiao2019", "Chung2020"]


class Refine3DProtocol(Map3DProtocol):
    """Base of the protocols that run the program refine3d."""

    config_class = Refine3DConfig
    rounds_parameter = "maximum_rounds"

    def _add_inputs(self, form: params.Form) -> None:
        """The tab with particles and map."""
        self._add_particles(
            form,
            "hasCTF",
            "Half sets that they carry are kept; projection directions of RELION, cryoSPARC or any "
            "other program can be the start, see the tab Reference.",
        )
        form.addParam(
            "referenceVolume",
            params.PointerParam,
            pointerClass="Volume",
            allowsNull=True,
            important=True,
            label="Initial map (optional)",
            help="The map to start from; its detail finer than the initial resolution is removed, "
            "and it is resampled where its box or pixel size is another. Left empty, the start is "
            "made from the particles: from their poses if those are to be used, else from nothing.",
        )

    def reference_volume(self) -> Optional[Any]:
        return self.referenceVolume.get()

    def sources(self) -> List[Any]:
        given = [] if self.reference_volume() is None else [self.referenceVolume]
        return [*super().sources(), *given]

    def number_of_classes(self, config: Any) -> int:
        return config.reference.n_classes

    def files(self) -> Dict[str, Any]:
        found = super().files()
        if self.reference_volume() is not None:
            found["reference_file"] = str(self.input_dir / REFERENCE)
        return found

    def createOutputStep(self, identity: str, digest: str) -> None:
        """Make Scipion's maps, particles and curves from the last round."""
        run = outputs3d.read_run3d(self.run_dir)
        poses = outputs3d.read_poses3d(run.paths.data_star(run.iteration), self.input_particles())
        self._create_outputs(run, poses)

    def _create_outputs(self, run: outputs3d.Run3D, poses: outputs3d.Poses3D) -> None:
        """The outputs of the protocol, each with its sources."""
        raise NotImplementedError

    def _problems(self, config: Any) -> List[str]:
        return refine3d_forecasts.refinement_problems(self, config)

    def _warnings(self) -> List[str]:
        try:
            return refine3d_forecasts.refinement_warnings(self, self.config())
        except ConfigError:
            return []  # _validate says what is wrong

    def _summary(self) -> List[str]:
        found = summary3d.lines(self.run_dir)
        if found:
            return found
        try:
            config = self.config()
            plan = refine3d_forecasts.plan_of(self, config)
        except ConfigError:
            return ["The form is not filled in yet."]
        if plan is None:
            return ["No round is finished yet."]
        return [f"Forecast: {plan.in_words}, {refine3d_forecasts.rounds_in_words(config)}."]

    def _start_in_words(self, config: Any) -> str:
        """What the run began with, for the methods."""
        reference = config.reference
        if reference.start_from_poses:
            return "from given projection directions"
        if self.reference_volume() is None:
            return "without an initial map"
        return f"from a map filtered to {reference.initial_resolution_angst:g} Å"
