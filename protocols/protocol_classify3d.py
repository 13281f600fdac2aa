# SPDX-License-Identifier: GPL-3.0-or-later
"""Classification of particles into several maps by a particle filter."""

from __future__ import annotations

from enum import Enum

from pwem.objects import SetOfClasses3D, SetOfFSCs, SetOfVolumes
from pwem.protocols import ProtClassify3D
from pyworkflow import BETA

from cryoralib_plugin.scipion import outputs3d
from cryoralib_plugin.scipion.refine3d_protocol import Refine3DProtocol

_CLASSES = 3


class CryoRalibProtClassify3D(Refine3DProtocol, ProtClassify3D):
    """Sorts particles into several maps and refines their poses, by a particle filter.

    Every particle keeps a cloud of support points in each class, and counts in each map by its
    probability there. A class that runs empty takes half of the largest one.

    Results: classes whose particles carry projection direction, probability and uncertainties,
    and whose representatives are the maps with their half maps; the maps as a set; and their
    Fourier shell correlations. Analyze Results shows how the classes fill and what they look like.
    """

    _label = "3D classification"
    _devStatus = BETA

    class _Outputs(Enum):
        outputClasses = SetOfClasses3D
        outputVolumes = SetOfVolumes
        outputFSC = SetOfFSCs

    _possibleOutputs = _Outputs

    def _defineParams(self, form):
        self._add_inputs(form)
        self._add_parameters(form, defaults={"n_classes": _CLASSES})

    def _create_outputs(self, run, poses):
        classes = self._createSetOfClasses3D(self.inputParticles)
        outputs3d.fill_classes(classes, poses, run)
        volumes = self._createSetOfVolumes()
        outputs3d.fill_volumes(volumes, run)
        fscs = self._createSetOfFSCs()
        outputs3d.fill_fscs(fscs, run)
        self._define_with_sources(outputClasses=classes, outputVolumes=volumes, outputFSC=fscs)

    def _problems(self, config):
        if config.reference.n_classes > 1:
            return super()._problems(config)
        return ["A classification needs at least 2 classes; one map is what 3D refinement makes."]

    def _methods(self):
        if not self.isFinished():
            return []
        config = self.config()
        run = outputs3d.read_run3d(self.run_dir)
        shares = ", ".join(f"{100 * known.share:.0f} %" for known in run.classes)
        return [
            f"{sum(known.n_particles for known in run.classes)} particles were sorted into "
            f"{len(run.classes)} classes ({shares}) in {run.iteration} rounds "
            f"{self._start_in_words(config)}, symmetry {config.reference.symmetry}, by a particle "
            "filter [Hu2018] [Qiao2019] with Cryo-RALib [Chung2020]."
        ]
