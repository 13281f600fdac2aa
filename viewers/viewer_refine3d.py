# SPDX-License-Identifier: GPL-3.0-or-later
"""Results of 3D refinement, classification and reconstruction, without Java."""

from __future__ import annotations

import os
import subprocess
import webbrowser
from typing import Any, Callable, Dict, List

from pwem.viewers import Chimera, ChimeraView
from pyworkflow.protocol.params import LabelParam, StringParam
from pyworkflow.utils import getListFromRangeString
from pyworkflow.viewer import View

from cryoralib_plugin import figures
from cryoralib_plugin.contract.results import ResultPaths
from cryoralib_plugin.figures import History
from cryoralib_plugin.scipion import results3d as reading
from cryoralib_plugin.scipion.refine3d_protocol import Map3DProtocol

from .figure_window import FigureView, PendingView
from .plots3d import PLOTS3D, Titled, directional_figures
from .run_viewer import RunViewer
from .shown3d import ShownRound, shown_round

_MAPS, _RESOLUTION = ("maps",), ("fsc",)
_PARTICLES = tuple(name for name in PLOTS3D if name not in (*_MAPS, *_RESOLUTION))


class CryoRalibRefine3DViewer(RunViewer):
    """Maps, their resolution by direction and round, and how sure the particles' poses are."""

    _label = "3D results"
    _targets = [Map3DProtocol]

    def _defineParams(self, form: Any) -> None:
        form.addSection(label="Results")
        self._add_iterations(form, "rounds")
        form.addParam(
            "classNumbers", StringParam, default="", label="Only of classes",
            help="Class numbers, for instance 1,4-6, whose maps and particles are shown. Empty: "
            "all classes.",
        )  # fmt: skip
        maps = form.addGroup("Maps")
        _add_plots(maps, _MAPS)
        maps.addParam(
            "showChimera", LabelParam, label="Surfaces in ChimeraX", important=True,
            help="Opens maps, half maps and masks at levels that show the molecule. Without "
            "ChimeraX on this machine you are told where the script lies.",
        )  # fmt: skip
        resolution = form.addGroup("Resolution")
        _add_plots(resolution, _RESOLUTION)
        resolution.addParam(
            "showDirectional", LabelParam, label="FSC along directions",
            help="Resolution along every direction, with cFAR and SCF*. It is computed when first "
            "asked for, apart from this window, and for the last round only.",
        )  # fmt: skip
        _add_plots(form.addGroup("Particles"), _PARTICLES)
        run = form.addGroup("Run")
        run.addParam(
            "showProgress", LabelParam, label="Round by round",
            help="Resolution and cut-off, uncertainties, changes, score and time of every round, "
            "with the stages of the search.",
        )  # fmt: skip
        run.addParam(
            "showClassShares", LabelParam, label="Class occupancy",
            help="The share of particles in every class, round by round.",
        )  # fmt: skip
        run.addParam(
            "showReport", LabelParam, label="Report page",
            help="All pictures, numbers and parameters on one page, opened in the web browser.",
        )  # fmt: skip

    def _getVisualizeDict(self) -> Dict[str, Callable[[str], List[View]]]:
        return {
            **{_param_of(name): self._guarded(self._plots, name) for name in PLOTS3D},
            "showChimera": self._guarded(self._chimera),
            "showDirectional": self._guarded(self._directional),
            "showProgress": self._guarded(self._of_rounds, figures.progress, "Round by round"),
            "showClassShares": self._guarded(
                self._of_rounds, figures.class_shares, "Class occupancy"
            ),
            "showReport": self._guarded(self._report),
        }

    def _plots(self, name: str) -> List[View]:
        return [view for shown in self._shown() for view in self._views(PLOTS3D[name].draw, shown)]

    def _views(self, draw: Callable[[ShownRound], List[Titled]], shown: ShownRound) -> List[View]:
        it = shown.results.iteration
        return [
            FigureView(figure, f"{title}, round {it}", self._owner())
            for title, figure in draw(shown)
        ]

    def _of_rounds(self, draw: Callable[[History], Any], title: str) -> List[View]:
        history = History.from_columns(reading.read_rounds(self._run_dir()))
        return [FigureView(draw(history), title, self._owner())]

    def _chimera(self) -> List[View]:
        scripts = [shown.write_chimerax_script() for shown in self._shown()]
        program = Chimera.getProgram()
        if program and os.path.exists(program):
            return [ChimeraView(str(script)) for script in scripts]
        where = "\n".join(str(script.resolve()) for script in scripts)
        return [
            self.infoMessage(
                "ChimeraX was not found on this machine (the variable CHIMERA_HOME of Scipion "
                f"names its folder). This script opens the maps anywhere:\n{where}",
                "ChimeraX",
            )
        ]

    def _directional(self) -> List[View]:
        views: List[View] = []
        for shown in self._shown():
            if all(shown.directional(number) is not None for number in shown.numbers):
                views += self._views(directional_figures, shown)
            elif shown.results.iteration != self._finished_iterations()[-1]:
                raise ValueError(
                    f"Directions of round {shown.results.iteration} were not computed while it was "
                    "the last one; they are computed for the last round."
                )
            else:
                views.append(self._pending(lambda shown=shown: directional_figures(shown)))
        return views

    def _report(self) -> List[View]:
        page = ResultPaths(self._run_dir()).report_html

        def open_page() -> List[Titled]:
            webbrowser.open(page.resolve().as_uri())
            return []

        return [self._pending(open_page)]

    def _pending(self, then: Callable[[], List[Titled]]) -> PendingView:
        """A view that waits for the report program and shows what comes of it."""
        return PendingView(
            self._start_report, then, "Computing the report of this run", self._owner()
        )

    def _start_report(self) -> subprocess.Popen:
        plugin = self.protocol.getPlugin()
        return subprocess.Popen(
            [plugin.engine_python(), "-m", "cryoralib_plugin", "report", str(self._run_dir())],
            env=plugin.getEnviron(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def _shown(self) -> List[ShownRound]:
        """The chosen rounds with the chosen classes."""
        wanted = getListFromRangeString(self.classNumbers.get() or "")
        return [shown_round(self._run_dir(), it, wanted) for it in self._chosen_iterations()]


def _add_plots(group: Any, names: tuple[str, ...]) -> None:
    for name in names:
        plot = PLOTS3D[name]
        group.addParam(_param_of(name), LabelParam, label=plot.label, help=plot.help)


def _param_of(plot: str) -> str:
    return f"show{plot[0].upper()}{plot[1:]}"
