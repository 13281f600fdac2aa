# SPDX-License-Identifier: GPL-3.0-or-later
"""Results of multi-reference and reference-free alignment, iteration by iteration."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Dict, List

from pwem.objects import SetOfClasses2D
from pyworkflow import Config
from pyworkflow.protocol.params import EnumParam, LabelParam, NumericRangeParam, StringParam
from pyworkflow.utils import getListFromRangeString
from pyworkflow.viewer import DESKTOP_TKINTER, ProtocolViewer, View

from cryoralib_plugin import figures
from cryoralib_plugin.contract.results import ResultPaths
from cryoralib_plugin.figures import SORT_ORDERS, ClassTable, History
from cryoralib_plugin.scipion import results as reading
from cryoralib_plugin.scipion.align2d_protocol import Align2DProtocol

from .figure_window import FigureView
from .gallery_window import GalleryView
from .plots import PLOTS, draw_plot
from .shown import Shown, shown_iteration

LAST, SELECTION = 0, 1


class CryoRalibAlign2DViewer(ProtocolViewer):
    """Class averages, their resolution, the poses of their members and how the run converged."""

    _label = "2D results"
    _targets = [Align2DProtocol]
    _environments = [DESKTOP_TKINTER]

    @classmethod
    def getPlugin(cls) -> Any:
        """This plugin, which Scipion tells to protocols only; the form's title names it."""
        return Config.getDomain().getPluginModule("cryoralib_plugin")._pluginInstance

    def _defineParams(self, form: Any) -> None:
        form.addSection(label="Results")
        form.addParam(
            "whichIterations", EnumParam, choices=["last", "selection"], default=LAST,
            display=EnumParam.DISPLAY_HLIST, label="Iterations",
            help="The last finished iteration, also of a run that still goes on, or several.",
        )  # fmt: skip
        form.addParam(
            "iterations", NumericRangeParam, default="1",
            condition=f"whichIterations == {SELECTION}", label="Which iterations",
            help="For instance 1,4-6: a window opens for each.",
        )  # fmt: skip
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

    def _validate(self) -> List[str]:
        if not self._finished_iterations():
            return [
                "No iteration has finished yet, so there is nothing to show; the run's log tells "
                "how far it is."
            ]
        return []

    def _guarded(self, show: Callable[..., List[View]], *arguments: Any) -> Callable:
        """A handler that answers bad input and missing files in a dialog."""

        def handler(paramName: str) -> List[View]:
            try:
                return show(*arguments)
            except (OSError, ValueError) as error:
                return [self.errorMessage(str(error), "These results cannot be shown")]

        return handler

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
        wanted = finished[-1:]
        if self.whichIterations.get() == SELECTION:
            wanted = getListFromRangeString(self.iterations.get() or "")
            missing = sorted(set(wanted) - set(finished))
            if missing or not wanted:
                raise ValueError(
                    f"Iterations must be among those finished, {finished[0]} to {finished[-1]}; "
                    f"asked for: {', '.join(map(str, missing)) or 'none'}."
                )
        output = self._output_classes()
        return [
            shown_iteration(self._run_dir(), number, output if number == finished[-1] else None)
            for number in wanted
        ]

    def _output_classes(self) -> Any:
        """The SetOfClasses2D that the protocol has made; None before."""
        # The form may have been opened while the run had no outputs yet; the project knows them.
        run = self.protocol
        if not any(run.iterOutputAttributes()):
            run = self.getProject().getProtocol(run.getObjId())
        return next((output for _, output in run.iterOutputAttributes(SetOfClasses2D)), None)

    def _finished_iterations(self) -> List[int]:
        return ResultPaths(self._run_dir()).iterations()

    def _run_dir(self) -> Path:
        return Path(self.protocol.run_dir)

    def _owner(self) -> Any:
        """The project window where there is one: it can launch runs; else the viewer's form."""
        return getattr(self, "windows", None) or self.formWindow


def _param_of(plot: str) -> str:
    return f"show{plot.capitalize()}"
