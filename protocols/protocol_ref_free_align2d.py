# SPDX-License-Identifier: GPL-3.0-or-later
"""Reference-free alignment of particles, or of the members of every class."""

from __future__ import annotations

from enum import Enum

import pyworkflow.protocol.params as params
from pwem.objects import SetOfAverages, SetOfClasses2D, SetOfParticles
from pwem.protocols import ProtAlign2D
from pyworkflow import BETA

from cryoralib_plugin.contract.align2d import ReferenceFreeConfig, ReferenceFreeSearch
from cryoralib_plugin.scipion.align2d_protocol import Align2DProtocol
from cryoralib_plugin.scipion.convert import write_classes, write_particles
from cryoralib_plugin.scipion.engine_protocol import PARTICLES

START_AUTOMATIC, START_GIVEN, START_NONE = range(3)


class CryoRalibProtRefFreeAlign2D(Align2DProtocol, ProtAlign2D):
    """Aligns particles to their own average, by reference-free alignment (RFA).

    The average of all particles is the reference of the next iteration; the shift range shrinks
    from stage to stage. Given classes, the members of each class are aligned among themselves,
    all classes in one run.

    Results: the particles with their 2D alignment, the averages, and the classes. Analyze Results
    shows the averages with their Fourier ring correlation, and how far poses still move.
    """

    _label = "reference-free alignment"
    _devStatus = BETA
    config_class = ReferenceFreeConfig

    class _Outputs(Enum):
        outputParticles = SetOfParticles
        outputAverages = SetOfAverages
        outputClasses = SetOfClasses2D

    _possibleOutputs = _Outputs

    def _defineParams(self, form):
        form.addSection(label="Input")
        self._add_compute_fields(form)
        form.addParam(
            "inputParticles",
            params.PointerParam,
            pointerClass="SetOfParticles,SetOfClasses2D",
            important=True,
            label="Input particles or classes",
            help="Particles to align to one average, or classes: then the members of each class "
            "are aligned among themselves.",
        )
        self._add_parameters(
            form,
            lead={ReferenceFreeSearch.title: _add_start_field},
            hidden=("start_from_alignment",),
        )

    def has_classes(self):
        """Whether the input is a set of classes."""
        return isinstance(self.inputParticles.get(), SetOfClasses2D)

    def _write_input(self, folder):
        write = write_classes if self.has_classes() else write_particles
        write(self.inputParticles.get(), folder / PARTICLES, self.image_folder)

    def particles_pointer(self):
        source = self.inputParticles
        return source.get().getImagesPointer() if self.has_classes() else source

    def sources(self):
        return [self.inputParticles]

    def number_of_classes(self, config):
        return self.inputParticles.get().getSize() if self.has_classes() else 1

    def files(self):
        is_given = {
            START_AUTOMATIC: self.has_classes(),
            START_GIVEN: True,
            START_NONE: False,
        }
        return {
            "within_classes": self.has_classes(),
            "start_from_alignment": is_given[self.startFrom.get()],
        }

    def _more_problems(self, config):
        if self.has_classes() and self.input_particles() is None:
            return ["The particles that the classes were made of are no longer in the project."]
        return []

    def _methods(self):
        if not self.isFinished():
            return []
        config = self.config()
        what = (
            f"The members of {self.outputClasses.getSize()} classes were aligned among themselves"
            if self.has_classes()
            else f"{self.outputParticles.getSize()} particles were aligned to their own average"
        )
        return [
            f"{what} by reference-free alignment (shift ranges {config.search.shift_range_px} px, "
            f"{config.search.n_iterations} iterations each, preset {config.search.preset}) with "
            "Cryo-RALib [Chung2020]."
        ]


def _add_start_field(form):
    """What start_from_alignment is to be; members of classes were aligned when these were made."""
    form.addParam(
        "startFrom",
        params.EnumParam,
        choices=["automatic", "given alignment", "no alignment"],
        default=START_AUTOMATIC,
        label="Start from",
        help="given alignment: the angles, shifts and hands that the input has, as when an earlier "
        "alignment is to be refined. no alignment: none of them. automatic: the given alignment "
        "of classes, none of particles.",
    )
