# SPDX-License-Identifier: GPL-3.0-or-later
"""Opens anybody's 2D classes or averages in the gallery; offered by "Open with"."""

from __future__ import annotations

from typing import Any, List

from pwem.objects import SetOfAverages, SetOfClasses2D
from pyworkflow.viewer import DESKTOP_TKINTER, View, Viewer

from .gallery_window import GalleryView
from .shown import shown_set


class CryoRalibClasses2DViewer(Viewer):
    """Class averages sorted, counted and selectable, with plots of their members' poses."""

    _name = "Cryo-RALib class averages"
    _targets = [SetOfClasses2D, SetOfAverages]
    _environments = [DESKTOP_TKINTER]

    def _visualize(self, obj: Any, **kwargs: Any) -> List[View]:
        if obj.getSize() == 0:
            return [self.infoMessage("This set is empty: there is nothing to show.", "Empty set")]
        try:
            shown = shown_set(obj, self._name_of(obj))
        except (OSError, ValueError) as error:
            return [self.errorMessage(str(error), "The averages cannot be shown")]
        return [GalleryView(shown, self.getProject(), self.getParent())]

    def _name_of(self, obj: Any) -> str:
        """The run and output that the project window calls it by."""
        run = self.getProject().getProtocol(obj.getObjParentId()) if obj.getObjParentId() else None
        for name, output in run.iterOutputAttributes() if run is not None else ():
            if output.getObjId() == obj.getObjId():
                return f"{run.getRunName()}, {name}"
        return ""
