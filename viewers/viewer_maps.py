# SPDX-License-Identifier: GPL-3.0-or-later
"""Slices and projections of anybody's maps, without Java; offered by "Open with"."""

from __future__ import annotations

from typing import Any, List

from pwem.objects import SetOfVolumes, Volume
from pyworkflow.viewer import DESKTOP_TKINTER, View, Viewer

from cryoralib_plugin import figures
from cryoralib_plugin.scipion.results3d import read_map

from .figure_window import FigureView

MOST_MAPS = 10


class CryoRalibMapViewer(Viewer):
    """Central slices and projections along the three axes, in one window a map."""

    _name = "Cryo-RALib slices and projections"
    _targets = [Volume, SetOfVolumes]
    _environments = [DESKTOP_TKINTER]

    def _visualize(self, obj: Any, **kwargs: Any) -> List[View]:
        volumes = [obj] if isinstance(obj, Volume) else [item.clone() for item in obj.iterItems()]
        try:
            return [self._view(volume) for volume in volumes[:MOST_MAPS]]
        except (OSError, ValueError) as error:
            return [self.errorMessage(str(error), "The map cannot be shown")]

    def _view(self, volume: Any) -> FigureView:
        title = volume.getObjLabel() or volume.getFileName()
        figure = figures.map_views(
            read_map(volume), pixel_size_angst=volume.getSamplingRate() or 1.0, title=title
        )
        return FigureView(figure, title, self.getParent())
