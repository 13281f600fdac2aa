# SPDX-License-Identifier: GPL-3.0-or-later
"""Results of multi-reference and reference-free alignment, iteration by iteration."""

from __future__ import annotations

from typing import Any, Callable, Dict, List

from pwem.objects import SetOfClasses2D
from pyworkflow.protocol.params import EnumParam, LabelParam, StringParam
from pyworkflow.utils import getListFromRangeString
from pyworkflow.viewer import View

from cryoralib_plugin import figures
from cryoralib_plugin.figures import SORT_ORDERS, ClassTable, History
from cryoralib_plugin.scipion import results as reading
from cryoralib_plugin.scipion.align2d_protocol import Align2DProtocol

from .figure_window import FigureView
from .gallery_window import GalleryView
from .plots import PLOTS, draw_plot
from .run_viewer import RunViewer
from .shown import Shown, shown_iteration


class CryoRalibAlign2DViewer(RunViewer):
    """Class averages, their resolution, the poses of their members and how the run converged."""

    _label = "2D results"
    _targets = [Align2DProtocol]

    def _defineParams(self, form: Any) -> None:
        form.addSection(label="Results")
        self._add_iterations(form, "iterations")
        form.addParam(
            "classNumbers", StringParam, default="", label="Only of classes",
            help="Class numbers, for instance 1,4-6, whose members the plots of angles, shifts, "
            "hands and scores show. Empty: of all classes.",
        )  # fmt: skip
        form.addParam(
            "sortBy", EnumParam, choices=list(SORT_ORDERS), default=0,
            display=EnumParam.DISPLAY_COMBO, label="Sort averages by",
            help="size: largest first; resolution: finest first; score: best match first.",
        )  # fmt: skip
        averages = form.addGroup("Class averages")
        averages.addParam(
            "showGallery", LabelParam, label="Class averages, selectable", important=True,
            help="All averages with counts and FRC resolution. Click on averages of the last "
            "iteration to make a subset of classes, averages or particles.",
        )  # fmt: skip
        averages.addParam(
            "showEvolution", LabelParam, label="Averages over the iterations",
            help="The largest classes as they grew.",
        )  # fmt: skip
        plots = form.addGroup("Plots")
        for name, plot in PLOTS.items():
            plots.addParam(_param_of(name), LabelParam, label=plot.label, help=plot.help)
        form.addGroup("Run").addParam(
            "showConvergence", LabelParam, label="Convergence",
            help="Effective and dead classes, pixel error, share of particles that changed class, "
            "score, resolution and seconds of every iteration.",
        )  # fmt: skip

    def _getVisualizeDict(self) -> Dict[str, Callable[[str], List[View]]]:
        return {
            "showGallery": self._guarded(self._galleries),
            "showEvolution": self._guarded(self._evolution),
            "showConvergence": self._guarded(self._convergence),
            **{_param_of(name): self._guarded(self._plots, name) for name in PLOTS},
        }

    def _galleries(self) -> List[View]:
        order = SORT_ORDERS[self.sortBy.get()]
        return [
            GalleryView(shown, self.getProject(), self._owner(), sort_by=order)
            for shown in self._shown()
        ]

    def _plots(self, name: str) -> List[View]:
        numbers = getListFromRangeString(self.classNumbers.get() or "")
        return [
            FigureView(
                draw_plot(name, shown, numbers),
                f"{PLOTS[name].label}, iteration {shown.results.iteration}",
                self._owner(),
            )
            for shown in self._shown()
        ]

    def _evolution(self) -> List[View]:
        run_dir = self._run_dir()
        last = reading.read_iteration(run_dir, self._finished_iterations()[-1])
        figure = figures.average_evolution(
            reading.read_averages(run_dir),
            ClassTable.from_records(last.model["classes"]),
            pixel_size_angst=float(last.model["pixel_size_angst"]),
            radius_px=last.model.get("outer_radius_px"),
        )
        return [FigureView(figure, "Averages over the iterations", self._owner())]

    def _convergence(self) -> List[View]:
        figure = figures.convergence(History(reading.read_history(self._run_dir())))
        return [FigureView(figure, "Convergence", self._owner())]

    def _shown(self) -> List[Shown]:
        """The chosen iterations; the output set belongs to the last one."""
        finished = self._finished_iterations()
        output = self._output_classes()
        return [
            shown_iteration(self._run_dir(), number, output if number == finished[-1] else None)
            for number in self._chosen_iterations()
        ]

    def _output_classes(self) -> Any:
        """The SetOfClasses2D that the protocol has made; None before."""
        # The form may have been opened while the run had no outputs yet; the project knows them.
        run = self.protocol
        if not any(run.iterOutputAttributes()):
            run = self.getProject().getProtocol(run.getObjId())
        return next((output for _, output in run.iterOutputAttributes(SetOfClasses2D)), None)


def _param_of(plot: str) -> str:
    return f"show{plot.capitalize()}"
