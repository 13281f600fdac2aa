# SPDX-License-Identifier: GPL-3.0-or-later
"""Viewing directions and uncertainties of anybody's particles with 3D poses; in "Open with"."""

from __future__ import annotations

from typing import Any, List

from pwem.objects import Class3D, SetOfParticles
from pyworkflow.viewer import DESKTOP_TKINTER, View, Viewer

from cryoralib_plugin import figures
from cryoralib_plugin.figures import RefinedParticles
from cryoralib_plugin.scipion.results3d import read_particle_views

from .figure_window import FigureView


class CryoRalibViews3DViewer(Viewer):
    """The sphere of viewing directions, shifts, and scores and uncertainties where known."""

    _name = "Cryo-RALib orientations"
    _targets = [SetOfParticles, Class3D]
    _environments = [DESKTOP_TKINTER]

    @classmethod
    def can_handle_this_instance(cls, instance: Any) -> bool:
        """Only particles with projection directions have these poses."""
        return bool(instance.hasAlignmentProj())

    def _visualize(self, obj: Any, **kwargs: Any) -> List[View]:
        found = read_particle_views(obj)
        if found is None:
            return [self.infoMessage("These particles have no 3D alignment.", "No poses")]
        particles, owner = RefinedParticles.from_columns(found), self.getParent()
        pixel_size_angst = obj.getSamplingRate()
        views = [
            FigureView(figures.orientation_sphere(particles), "Orientations", owner),
            FigureView(
                figures.shift_density(particles, pixel_size_angst=pixel_size_angst),
                "Shifts",
                owner,
            ),
        ]
        if figures.has_certainty(particles):
            # A set does not say how large the pixels of its maps were.
            figure = figures.certainty(particles, pixel_size_angst=None)
            views.append(FigureView(figure, "Scores and uncertainties", owner))
        return views
