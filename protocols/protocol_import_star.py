# SPDX-License-Identifier: GPL-3.0-or-later
"""Import of a RELION STAR file, without RELION or its plugin."""

from __future__ import annotations

from enum import Enum
from pathlib import Path

import pyworkflow.protocol.params as params
from pwem.constants import ALIGN_2D, ALIGN_NONE, ALIGN_PROJ
from pwem.objects import SetOfParticles
from pwem.protocols import EMProtocol
from pyworkflow import BETA
from pyworkflow.protocol import ProtImportBase

from cryoralib_plugin.contract.foreign import advice_on
from cryoralib_plugin.scipion.images import bring_stacks
from cryoralib_plugin.scipion.import_star import Imported
from cryoralib_plugin.scipion.imported_set import AUTOMATIC, fill_from_star


class CryoRalibProtImportStar(EMProtocol, ProtImportBase):
    """Imports particles from a RELION STAR file: 3.1 and later, 3.0, and older ones.

    Images, CTF, optics groups, coordinates, micrographs, poses and half sets are kept. No other
    plugin and no RELION are needed. The stacks are linked into the project, or copied.
    """

    _label = "import STAR particles"
    _devStatus = BETA

    class _Outputs(Enum):
        outputParticles = SetOfParticles

    _possibleOutputs = _Outputs

    _ALIGNMENTS = (AUTOMATIC, ALIGN_NONE, ALIGN_2D, ALIGN_PROJ)

    def _defineParams(self, form):
        form.addSection(label="Import")
        form.addParam(
            "starFile",
            params.FileParam,
            important=True,
            label="STAR file",
            help="The STAR file with the particles, such as run_data.star or particles.star.",
        )
        form.addParam(
            "imageFolder",
            params.FolderParam,
            label="Folder of the images (optional)",
            help="Where the stacks named in the file are searched first. The folder of the STAR "
            "file and four folders above it are searched as well, so that files inside a "
            "RELION project need nothing here.",
        )
        form.addParam(
            "samplingRate",
            params.FloatParam,
            default=0.0,
            label="Pixel size (Å)",
            help="Used only where the file does not tell the pixel size.",
        )
        form.addParam(
            "poses",
            params.EnumParam,
            choices=["automatic", "none", "in the plane (2D)", "projection directions"],
            default=0,
            label="Poses",
            help="automatic: projection directions where the file has rot or tilt angles, else "
            "2D poses where it has psi angles.",
        )
        form.addParam(
            "copyImages",
            params.BooleanParam,
            default=False,
            label="Copy the images",
            help="No: the project links to the stacks where they are. Yes: they are copied, so "
            "that the project stands by itself.",
        )

    def _insertAllSteps(self):
        self._insertFunctionStep(
            self.importStep,
            self.starFile.get(),
            self.imageFolder.get(),
            self.samplingRate.get(),
            self.poses.get(),
            self.copyImages.get(),
            needsGPU=False,
        )

    def importStep(self, star_file, image_folder, sampling_rate, poses, copy_images):
        imported = self._read()
        folder = Path(self._getExtraPath("images"))
        names = bring_stacks(imported.stacks, folder, copy=copy_images)
        particles = self._createSetOfParticles()
        fill_from_star(particles, imported, name_of=names, alignment=self._ALIGNMENTS[poses])
        self._defineOutputs(outputParticles=particles)

    def _read(self):
        return Imported.read(
            Path(self.starFile.get()),
            pixel_size_angst=self.samplingRate.get() or 0.0,
            image_folder=self.imageFolder.get() or "",
        )

    def _validate(self):
        star_file = self.starFile.get()
        if not star_file:
            return ["Name the STAR file to import."]
        if not Path(star_file).is_file():
            return [f"The STAR file {star_file} does not exist."]
        if advice_on(star_file):
            return [advice_on(star_file)]
        try:
            imported = self._read()
        except (ValueError, OSError) as error:
            return [str(error)]
        problem = imported.ctf_problem()
        if problem:
            return [problem]
        if self.poses.get() > 1 and not imported.has_pose:
            return [f"{star_file} has no poses: choose automatic or none."]
        return []

    def _summary(self):
        if not hasattr(self, "outputParticles"):
            return [f"Particles of {self.starFile.get()} are not imported yet."]
        particles = self.outputParticles
        return [
            f"{particles.getSize()} particles of {self.starFile.get()}, "
            f"{'with' if particles.hasCTF() else 'without'} CTF, alignment: "
            f"{particles.getAlignment()}."
        ]

    def _methods(self):
        return [f"Particles were imported from {self.starFile.get()}."]
