# SPDX-License-Identifier: GPL-3.0-or-later
"""In-plane angles and shifts of anybody's particles with a 2D alignment; in "Open with"."""

from __future__ import annotations

from typing import Any, List

from pwem.objects import SetOfParticles
from pyworkflow.viewer import DESKTOP_TKINTER, View, Viewer

from cryoralib_plugin import figures
from cryoralib_plugin.figures import PoseTable
from cryoralib_plugin.scipion.results import read_particle_poses

from .figure_window import FigureView


class CryoRalibPoses2DViewer(Viewer):
    """Polar histogram of the in-plane angle and density of the shifts."""

    _name = "Cryo-RALib angles and shifts"
    _targets = [SetOfParticles]
    _environments = [DESKTOP_TKINTER]

    @classmethod
    def can_handle_this_instance(cls, instance: Any) -> bool:
        """Only particles that were aligned in 2D have these poses."""
        return bool(instance.hasAlignment2D())

    def _visualize(self, obj: Any, **kwargs: Any) -> List[View]:
        found = read_particle_poses(obj)
        if found is None:
            return [self.infoMessage("These particles have no 2D alignment.", "No poses")]
        poses, owner = PoseTable(**found), self.getParent()
        shifts = figures.shift_density(poses, pixel_size_angst=obj.getSamplingRate())
        return [
            FigureView(figures.inplane_angles(poses), "In-plane angles", owner),
            FigureView(shifts, "Shifts", owner),
        ]
