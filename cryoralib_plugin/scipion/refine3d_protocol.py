# SPDX-License-Identifier: GPL-3.0-or-later
"""What 3D refinement and 3D classification share: inputs, checks, words."""

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
_GIVEN_MASK = condition("map_mask == 'given'", dict(form_params(Refine3DConfig)))


class Refine3DProtocol(EngineProtocol):
    """Base of the protocols that run the program refine3d."""

    config_class = Refine3DConfig
    rounds_parameter = "maximum_rounds"

    def _add_inputs(self, form: params.Form) -> None:
        """The tab with particles and map."""
        form.addSection(label="Input")
        self._add_compute_fields(form)
        form.addParam(
            "inputParticles",
            params.PointerParam,
            pointerClass="SetOfParticles",
            pointerCondition="hasCTF",
            important=True,
            label="Input particles",
            help="Particles with their CTF, as they were extracted (neither phase-flipped nor "
            "multiplied by the CTF). Half sets that they carry are kept; projection directions of "
            "RELION, cryoSPARC or any other program can be the start, see the tab Reference.",
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

    def _add_mask(self, form: params.Form) -> None:
        """The mask at the end of its tab, shown where one is to be given."""
        form.addParam(
            "inputMask",
            params.PointerParam,
            pointerClass="VolumeMask",
            allowsNull=True,
            condition=_GIVEN_MASK,
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
        if self.reference_volume() is not None:
            pointers.append(self.referenceVolume)
        if self.mask_volume() is not None:
            pointers.append(self.inputMask)
        return pointers

    def reference_volume(self) -> Optional[Any]:
        """The initial map, if there is one."""
        return self.referenceVolume.get()

    def mask_volume(self) -> Optional[Any]:
        """The mask, if one is to be given and is."""
        return self.inputMask.get() if self.evalParamCondition("inputMask") else None

    def number_of_classes(self, config: Any) -> int:
        return config.reference.n_classes

    def files(self) -> Dict[str, Any]:
        found = {}
        if self.reference_volume() is not None:
            found["reference_file"] = str(self.input_dir / REFERENCE)
        if self.mask_volume() is not None:
            found["mask_file"] = str(self.input_dir / MASK)
        return found

    # --- output ----------------------------------------------------------------------------

    def createOutputStep(self, identity: str, digest: str) -> None:
        """Make Scipion's maps, particles and curves from the last round."""
        run = outputs3d.read_run3d(self.run_dir)
        poses = outputs3d.read_poses3d(run.paths.data_star(run.iteration), self.input_particles())
        self._create_outputs(run, poses)

    def _create_outputs(self, run: outputs3d.Run3D, poses: outputs3d.Poses3D) -> None:
        """The outputs of the protocol, each with its sources."""
        raise NotImplementedError

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
        return [*refine3d_forecasts.problems(self, config), *self._more_problems(config)]

    def _more_problems(self, config: Any) -> List[str]:
        """Sentences on what only this protocol asks for."""
        return []

    def _warnings(self) -> List[str]:
        try:
            return refine3d_forecasts.warnings(self, self.config())
        except ConfigError:
            return []  # _validate says what is wrong

    def _summary(self) -> List[str]:
        return summary3d.lines(self.run_dir) or ["No round is finished yet."]

    def _start_in_words(self, config: Any) -> str:
        """What the run began with, for the methods."""
        reference = config.reference
        if reference.start_from_poses:
            return "from given projection directions"
        if self.reference_volume() is None:
            return "without an initial map"
        return f"from a map filtered to {reference.initial_resolution_angst:g} Å"

    def _citations(self) -> List[str]:
        return ["Hu2018", "Qiao2019", "Chung2020"]
