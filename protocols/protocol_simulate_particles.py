# SPDX-License-Identifier: GPL-3.0-or-later
"""Particles of known truth, simulated."""

from __future__ import annotations

from enum import Enum
from pathlib import Path

from pwem.objects import SetOfParticles, Volume
from pwem.protocols import EMProtocol
from pyworkflow import BETA

from cryoralib_plugin.contract._codec import to_json
from cryoralib_plugin.contract._param import ConfigError
from cryoralib_plugin.contract.simulate import SimulateConfig
from cryoralib_plugin.scipion.form import add_sections, config_of, new_problems
from cryoralib_plugin.scipion.import_star import Imported
from cryoralib_plugin.scipion.imported_set import fill_from_star
from cryoralib_plugin.scipion.launch import run_program


class CryoRalibProtSimulateParticles(EMProtocol):
    """Simulates images of an asymmetric, protein-like object, with the truth beside them.

    Random views and shifts, a contrast transfer function with astigmatism, coloured noise, an
    ice gradient and images that hold no particle. SNR is the variance of the signal after the CTF
    over the variance of the noise, inside the particle's disk. Nothing is downloaded.

    Results: the particles with their CTF, and the object as a volume. The true pose and view of
    each particle are in truth.star beside the stack.
    """

    _label = "simulate particles"
    _devStatus = BETA

    class _Outputs(Enum):
        outputParticles = SetOfParticles
        outputVolume = Volume

    _possibleOutputs = _Outputs

    def _defineParams(self, form):
        add_sections(form, SimulateConfig)

    def _insertAllSteps(self):
        self._insertFunctionStep(self.simulateStep, to_json(self.config()), needsGPU=False)
        self._insertFunctionStep(self.createOutputStep, needsGPU=False)

    def simulateStep(self, config_text):
        config_file = Path(self._getExtraPath("config.json"))
        config_file.write_text(config_text, encoding="utf-8")
        results = [self.result(name) for name in ("particles.star", "particles.mrcs")]
        run_program(self, SimulateConfig.program, config_file, results)

    def createOutputStep(self):
        particles = self._createSetOfParticles()
        fill_from_star(particles, Imported.read(self.result("particles.star")))
        self._defineOutputs(outputParticles=particles)
        phantom = self.result("phantom.mrc")
        if phantom.exists():
            volume = Volume(location=str(phantom))
            volume.setSamplingRate(particles.getSamplingRate())
            self._defineOutputs(outputVolume=volume)

    def result(self, name):
        """A file that the simulation leaves."""
        return Path(self._getExtraPath("simulated", name))

    def config(self):
        """The simulation's parameters from the filled form."""
        return config_of(self, SimulateConfig, output_dir=self._getExtraPath("simulated"))

    def _validate(self):
        try:
            self.config()
        except ConfigError as error:
            return new_problems(self, SimulateConfig, error)
        return []

    def _summary(self):
        if not hasattr(self, "outputParticles"):
            return ["No particles yet."]
        return [
            f"{self.outputParticles.getSize()} particles at SNR {self.snr.get():g}; the truth is "
            f"in {self.result('truth.star')}."
        ]

    def _methods(self):
        return [f"Particles were simulated with Cryo-RALib at SNR {self.snr.get():g} [Chung2020]."]

    def _citations(self):
        return ["Chung2020"]
