# SPDX-License-Identifier: GPL-3.0-or-later
"""A map from particles whose projection directions are known."""

from __future__ import annotations

from enum import Enum

import pyworkflow.protocol.params as params
from pwem.objects import SetOfFSCs, Volume
from pwem.protocols import ProtReconstruct3D
from pyworkflow import BETA
from pyworkflow.protocol.constants import LEVEL_ADVANCED

from cryoralib_plugin.contract._param import ConfigError
from cryoralib_plugin.contract.reconstruct import ReconstructConfig
from cryoralib_plugin.contract.results import ResultPaths
from cryoralib_plugin.scipion import outputs3d, refine3d_forecasts, summary3d
from cryoralib_plugin.scipion.refine3d_protocol import Map3DProtocol


class CryoRalibProtReconstruct(Map3DProtocol, ProtReconstruct3D):
    """Makes a map and its half maps from particles whose projection directions are known.

    Directions of any program serve: nothing is searched. Where particles carry half sets the
    halves stay as they are. Particles of a refinement of this plugin can enter the map at all
    their likely directions in place of the best one.

    Results: the map with its half maps, and the Fourier shell correlation. Analyze Results shows
    slices, directions, and how well the directions sample Fourier space.
    """

    _label = "reconstruct"
    _devStatus = BETA
    config_class = ReconstructConfig

    class _Outputs(Enum):
        outputVolume = Volume
        outputFSC = SetOfFSCs

    _possibleOutputs = _Outputs

    def _defineParams(self, form):
        self._add_particles(
            form,
            "hasCTF and hasAlignmentProj",
            "Their projection directions may be RELION's, cryoSPARC's or any other program's.",
        )
        form.addParam(
            "inputRefinement",
            params.PointerParam,
            pointerClass="CryoRalibProtRefine3D",
            allowsNull=True,
            expertLevel=LEVEL_ADVANCED,
            label="Their refinement (optional)",
            help="The 3D refinement that these particles are an output of, or a subset of one: "
            "they then enter at all their likely directions, weighted, and not at the best only.",
        )
        self._add_parameters(form)

    def files(self):
        points = self._support_points()
        return {**super().files(), **({} if points is None else {"points_file": str(points)})}

    def _support_points(self):
        """The file of the refinement's support points, if a refinement is given."""
        refinement = self.inputRefinement.get()
        if refinement is None:
            return None
        paths = ResultPaths(refinement.run_dir)
        return paths.cloud_h5(paths.last_iteration() or 0)

    def createOutputStep(self, identity, digest):
        """Make Scipion's map and curves."""
        run = outputs3d.read_run3d(self.run_dir)
        fscs = self._createSetOfFSCs()
        outputs3d.fill_fscs(fscs, run)
        self._define_with_sources(outputVolume=outputs3d.volume_of(run, 1), outputFSC=fscs)

    def _can_resume(self, config):
        return False  # it is one pass over the particles

    def _problems(self, config):
        found = refine3d_forecasts.reconstruction_problems(self, config)
        points = self._support_points()
        if points is not None and not points.is_file():
            found.append(
                f"The refinement has no support points: {points} does not exist. Leave it out; "
                "particles then enter at their best direction."
            )
        return found

    def _warnings(self):
        try:
            self.config()
        except ConfigError:
            return []  # _validate says what is wrong
        found = refine3d_forecasts.common_warnings(self)
        if self.sizes() is not None:
            found += refine3d_forecasts.unposed_note(self, "left out")
        return found

    def _summary(self):
        return summary3d.lines(self.run_dir) or ["There is no map yet."]

    def _methods(self):
        if not self.isFinished():
            return []
        config = self.config()
        run = outputs3d.read_run3d(self.run_dir)
        return [
            f"A map of {run.of_class(1).n_particles} particles was reconstructed from "
            f"their given projection directions, symmetry {config.reference.symmetry}, to "
            f"{run.of_class(1).resolution_angst:.1f} Å (FSC {config.reference.resolution_fsc:g} of "
            "the half maps) with Cryo-RALib [Chung2020]."
        ]

    def _citations(self):
        return ["Chung2020"]
