# SPDX-License-Identifier: GPL-3.0-or-later
"""What viewers of runs share: which iterations, messages in words, the window that owns them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, List

from pyworkflow import Config
from pyworkflow.protocol.params import EnumParam, NumericRangeParam
from pyworkflow.utils import getListFromRangeString
from pyworkflow.viewer import DESKTOP_TKINTER, ProtocolViewer, View

from cryoralib_plugin.contract.results import ResultPaths

LAST, SELECTION = 0, 1


class RunViewer(ProtocolViewer):
    """Base of the viewers of runs, finished or not."""

    _environments = [DESKTOP_TKINTER]

    @classmethod
    def getPlugin(cls) -> Any:
        """This plugin, which Scipion tells to protocols only; the form's title names it."""
        return Config.getDomain().getPluginModule("cryoralib_plugin")._pluginInstance

    def _add_iterations(self, form: Any, word: str) -> None:
        """Fields that choose iterations, or rounds, as the program calls them."""
        form.addParam(
            "whichIterations", EnumParam, choices=["last", "selection"], default=LAST,
            display=EnumParam.DISPLAY_HLIST, label=word.capitalize(),
            help=f"The last of the finished {word}, also of a run that still goes on, or several.",
        )  # fmt: skip
        form.addParam(
            "iterations", NumericRangeParam, default="1",
            condition=f"whichIterations == {SELECTION}", label=f"Which {word}",
            help="For instance 1,4-6: a window opens for each.",
        )  # fmt: skip

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

    def _chosen_iterations(self) -> List[int]:
        """The iterations that the form names; ValueError where they are not finished."""
        finished = self._finished_iterations()
        if self.whichIterations.get() != SELECTION:
            return finished[-1:]
        wanted = getListFromRangeString(self.iterations.get() or "")
        missing = sorted(set(wanted) - set(finished))
        if missing or not wanted:
            raise ValueError(
                f"Iterations must be among those finished, {finished[0]} to {finished[-1]}; "
                f"asked for: {', '.join(map(str, missing)) or 'none'}."
            )
        return wanted

    def _finished_iterations(self) -> List[int]:
        return ResultPaths(self._run_dir()).iterations()

    def _run_dir(self) -> Path:
        return Path(self.protocol.run_dir)

    def _owner(self) -> Any:
        """The project window where there is one: it can launch runs; else the viewer's form."""
        return getattr(self, "windows", None) or self.formWindow
