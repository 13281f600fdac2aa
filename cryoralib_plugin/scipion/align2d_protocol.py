# SPDX-License-Identifier: GPL-3.0-or-later
"""What the two alignment protocols share: outputs, checks and words."""

from __future__ import annotations

from typing import Any, List

from cryoralib_plugin.contract._param import ConfigError
from cryoralib_plugin.contract.results import ResultPaths

from . import align2d_forecasts, outputs, summary
from .engine_protocol import EngineProtocol
from .form import new_problems

REFERENCES = "references.mrcs"


class Align2DProtocol(EngineProtocol):
    """Base of the protocols that run an alignment program on particles."""

    rounds_parameter = "n_iterations"

    def createOutputStep(self, identity: str, digest: str) -> None:
        """Make Scipion's sets from the last iteration."""
        run = outputs.read_run(self.run_dir)
        star_file = ResultPaths(self.run_dir).data_star(run.iteration)
        particles = self.input_particles()
        assignments = outputs.read_assignments(star_file, particles.getSamplingRate())
        self._create_outputs(run, assignments)

    def _create_outputs(self, run: outputs.RunOutput, assignments: outputs.Assignments) -> None:
        """Classes, averages and particles, each with its sources."""
        pointer = self.particles_pointer()
        classes = self._createSetOfClasses2D(pointer)
        outputs.fill_classes(classes, assignments, run)
        averages = self._createSetOfAverages()
        outputs.fill_averages(averages, run)
        particles = self._createSetOfParticles()
        outputs.fill_particles(particles, self.input_particles(), assignments)
        self._defineOutputs(
            outputClasses=classes, outputAverages=averages, outputParticles=particles
        )
        self._defineTransformRelation(pointer, particles)
        for source in self.sources():
            self._defineSourceRelation(source, classes)
            self._defineSourceRelation(source, averages)

    # --- words ---------------------------------------------------------------------------------

    def _validate(self) -> List[str]:
        try:
            config = self.config()
        except ConfigError as error:
            return new_problems(self, self.config_class, error)
        return [*align2d_forecasts.problems(self, config), *self._more_problems(config)]

    def _more_problems(self, config: Any) -> List[str]:
        """Sentences on what only this protocol asks for."""
        return []

    def _warnings(self) -> List[str]:
        try:
            return align2d_forecasts.warnings(self, self.config())
        except ConfigError:
            return []  # _validate says what is wrong

    def _summary(self) -> List[str]:
        found = summary.lines(self.run_dir)
        if found:
            return found
        try:
            config = self.config()
            plan = align2d_forecasts.plan_of(self, config)
        except ConfigError:
            return ["The form is not filled in yet."]
        if plan is None:
            return ["No iteration is finished yet."]
        return [f"Forecast: {plan.in_words}, {align2d_forecasts.n_rounds(config)} iterations."]

    def _citations(self) -> List[str]:
        return ["Chung2020"]
