# SPDX-License-Identifier: GPL-3.0-or-later
"""Multi-reference alignment: particles into class averages."""

from __future__ import annotations

from enum import Enum

import pyworkflow.protocol.params as params
from pwem.objects import SetOfAverages, SetOfClasses2D, SetOfParticles
from pwem.protocols import ProtClassify2D
from pyworkflow import BETA

from cryoralib_plugin.contract.align2d import MultireferenceConfig
from cryoralib_plugin.scipion.align2d_protocol import REFERENCES, Align2DProtocol
from cryoralib_plugin.scipion.convert import write_averages, write_particles
from cryoralib_plugin.scipion.engine_protocol import PARTICLES


class CryoRalibProtMultirefAlign2D(Align2DProtocol, ProtClassify2D):
    """Sorts particles into classes and aligns them, by multi-reference alignment (MRA).

    Every particle is compared with every reference at all shifts in a range, all in-plane angles
    and both hands, on polar rings; it is averaged into the class of the best match, and the
    averages are the next references. References are given (averages or classes), or made from
    random groups of equal size.

    Results: classes whose particles carry their 2D alignment, the class averages, and the
    particles. Analyze Results shows averages by size or resolution, poses and convergence.
    """

    _label = "multi-reference alignment"
    _devStatus = BETA
    config_class = MultireferenceConfig

    class _Outputs(Enum):
        outputClasses = SetOfClasses2D
        outputAverages = SetOfAverages
        outputParticles = SetOfParticles

    _possibleOutputs = _Outputs

    def _defineParams(self, form):
        form.addSection(label="Input")
        self._add_compute_fields(form)
        form.addParam(
            "inputParticles",
            params.PointerParam,
            pointerClass="SetOfParticles",
            important=True,
            label="Input particles",
            help="Particles to sort into classes. Poses they have already are where the search "
            "begins.",
        )
        form.addParam(
            "inputReferences",
            params.PointerParam,
            pointerClass="SetOfAverages,SetOfClasses2D",
            allowsNull=True,
            label="Initial references (optional)",
            help="Averages or classes to begin with; their number is then the number of classes. "
            "Their box and pixel size must be those of the particles after down-sampling. Left "
            "empty, the first references are averages of random groups of equal size.",
        )
        self._add_parameters(form)

    def _write_input(self, folder):
        write_particles(self.inputParticles.get(), folder / PARTICLES, self.image_folder)
        references = self.inputReferences.get()
        if references is not None:
            write_averages(references, folder / REFERENCES)

    def particles_pointer(self):
        return self.inputParticles

    def sources(self):
        pointers = [self.inputParticles]
        if self.inputReferences.get() is not None:
            pointers.append(self.inputReferences)
        return pointers

    def number_of_classes(self, config):
        references = self.inputReferences.get()
        return config.search.n_classes if references is None else references.getSize()

    def files(self):
        if self.inputReferences.get() is None:
            return {}
        return {"references_file": str(self.input_dir / REFERENCES)}

    def _more_problems(self, config):
        found = []
        n_particles, box, pixel_size = self.sizes() or (0, 0, 0.0)
        references = self.inputReferences.get()
        n_classes = self.number_of_classes(config)
        needed = n_classes * config.averages.minimum_class_size
        if n_particles < needed:
            found.append(
                f"{n_classes} classes of at least {config.averages.minimum_class_size} members "
                f"need {needed} particles, but there are {n_particles}: ask for fewer classes."
            )
        if references is not None:
            average = getattr(references.getFirstItem(), "getRepresentative", lambda: None)()
            average = average or references.getFirstItem()
            if average.getXDim() != box:
                found.append(
                    f"The references' box is {average.getXDim()} px, but particles are aligned in "
                    f"{box} px: resize the references or set Down-sample to box accordingly."
                )
            elif abs(average.getSamplingRate() - pixel_size) > 1e-3 * pixel_size:
                found.append(
                    f"The references' pixel size is {average.getSamplingRate():g} Å, but that of "
                    f"the particles {pixel_size:g} Å."
                )
        return found

    def _methods(self):
        if not self.isFinished():
            return []
        config = self.config()
        references = self.inputReferences.get()
        start = "averages of random groups" if references is None else "given references"
        return [
            f"{self.inputParticles.get().getSize()} particles were sorted into "
            f"{self.outputClasses.getSize()} classes by multi-reference alignment "
            f"({config.search.n_iterations} iterations from {start}, shift range "
            f"{config.search.shift_range_px} px, preset {config.search.preset}) with Cryo-RALib "
            "[Chung2020]."
        ]
