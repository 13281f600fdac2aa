# SPDX-License-Identifier: GPL-3.0-or-later
"""Refinement of one map by a particle filter."""

from __future__ import annotations

from enum import Enum

from pwem.objects import SetOfFSCs, SetOfParticles, Volume
from pwem.protocols import ProtRefine3D
from pyworkflow import BETA

from cryoralib_plugin.scipion import outputs3d
from cryoralib_plugin.scipion.refine3d_protocol import Refine3DProtocol


class CryoRalibProtRefine3D(Refine3DProtocol, ProtRefine3D):
    """Refines a map and the poses of its particles, by a particle filter.

    Every particle keeps a cloud of support points in rotation, shift and defocus. Rounds of
    global search find the poses, rounds of local search move the support points where they are
    likely, and the width of the cloud says how sure the pose is. The two halves of the particles
    are refined apart; the cut-off follows their correlation.

    Results: the map with its half maps, the particles with projection directions, refined
    defocus, score and uncertainties, and the Fourier shell correlation. Analyze Results shows
    directions, uncertainties, resolution by round, slices and directional resolution.
    """

    _label = "3D refinement"
    _devStatus = BETA

    class _Outputs(Enum):
        outputVolume = Volume
        outputParticles = SetOfParticles
        outputFSC = SetOfFSCs

    _possibleOutputs = _Outputs

    def _defineParams(self, form):
        self._add_inputs(form)
        # One map is what this protocol is for; several are the classification's.
        self._add_parameters(form, hidden=("n_classes",))

    def _create_outputs(self, run, poses):
        particles = self._createSetOfParticles()
        outputs3d.fill_particles(particles, self.input_particles(), poses)
        fscs = self._createSetOfFSCs()
        outputs3d.fill_fscs(fscs, run)
        volume = outputs3d.volume_of(run, 1)
        self._define_with_sources(outputVolume=volume, outputFSC=fscs)
        self._defineOutputs(outputParticles=particles)
        self._defineTransformRelation(self.inputParticles, particles)

    def _methods(self):
        if not self.isFinished():
            return []
        config = self.config()
        run = outputs3d.read_run3d(self.run_dir)
        return [
            f"{self.outputParticles.getSize()} particles were refined in {run.iteration} rounds "
            f"{self._start_in_words(config)}, symmetry {config.reference.symmetry}, to "
            f"{run.of_class(1).resolution_angst:.1f} Å (FSC {config.stages.resolution_fsc:g} of "
            "independent halves) by a particle filter [Hu2018] [Qiao2019] with Cryo-RALib "
            "[Chung2020]."
        ]
