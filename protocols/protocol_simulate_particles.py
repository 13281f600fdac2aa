# SPDX-License-Identifier: GPL-3.0-or-later
"""Particles of known truth, simulated."""

from __future__ import annotations

from enum import Enum
from pathlib import Path

import pyworkflow.protocol.params as params
from pwem.objects import SetOfParticles, Volume
from pwem.protocols import EMProtocol
from pyworkflow import BETA

from cryoralib_plugin.contract._codec import to_json
from cryoralib_plugin.contract._param import ConfigError
from cryoralib_plugin.contract.simulate import SimulateConfig, SimulatedObject
from cryoralib_plugin.scipion.form import add_sections, config_of, new_problems
from cryoralib_plugin.scipion.import_star import Imported
from cryoralib_plugin.scipion.imported_set import fill_from_star
from cryoralib_plugin.scipion.launch import run_program
from cryoralib_plugin.scipion.volumes import map_problems, write_map

_MAPS = {"inputVolume": "map_file", "secondVolume": "second_map_file"}
"""Fields for maps and the parameters that name their files."""


class CryoRalibProtSimulateParticles(EMProtocol):
    """Simulates images of a protein-like object, or of given maps, with the truth beside them.

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
        add_sections(form, SimulateConfig, lead={SimulatedObject.title: _add_maps})

    def _insertAllSteps(self):
        self._insertFunctionStep(self.simulateStep, to_json(self.config()), needsGPU=False)
        self._insertFunctionStep(self.createOutputStep, needsGPU=False)

    def simulateStep(self, config_text):
        for field, volume in self._maps().items():
            write_map(volume, self._map_file(field))
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
        files = {_MAPS[field]: str(self._map_file(field)) for field in self._maps()}
        output_dir = self._getExtraPath("simulated")
        return config_of(self, SimulateConfig, output_dir=output_dir, **files)

    def _maps(self):
        """The maps that are given, by the field that they are given in."""
        found = {field: getattr(self, field).get() for field in _MAPS}
        return {field: volume for field, volume in found.items() if volume is not None}

    def _map_file(self, field):
        """The file that the program reads a map from."""
        return Path(self._getExtraPath(f"{_MAPS[field]}.mrc"))

    def _validate(self):
        try:
            self.config()
        except ConfigError as error:
            return new_problems(self, SimulateConfig, error)
        return [line for volume in self._maps().values() for line in map_problems(volume, "map")]

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


def _add_maps(form):
    """The maps that take the place of the program's own molecule."""
    form.addParam(
        "inputVolume",
        params.PointerParam,
        pointerClass="Volume",
        allowsNull=True,
        label="Map (optional)",
        help="A map to simulate from, centred, in its own symmetry; its box and pixel size may "
        "differ from those of the images. Left empty, a molecule is made up as described below.",
    )
    form.addParam(
        "secondVolume",
        params.PointerParam,
        pointerClass="Volume",
        allowsNull=True,
        label="Second map (optional)",
        help="Another state of the molecule, on the same grey scale: each particle shows one of "
        "the two, half of them this one.",
    )
