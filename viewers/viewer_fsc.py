# SPDX-License-Identifier: GPL-3.0-or-later
"""Fourier shell correlations of any program, with their crossings; offered by "Open with"."""

from __future__ import annotations

from typing import Any, List

from pwem.objects import SetOfFSCs
from pyworkflow.viewer import DESKTOP_TKINTER, View, Viewer

from cryoralib_plugin import figures
from cryoralib_plugin.scipion.results3d import read_fsc_set

from .figure_window import FigureView


class CryoRalibFscViewer(Viewer):
    """The curves of a set in one plot, each with its resolution at 0.5 and 0.143."""

    _name = "Cryo-RALib FSC"
    _targets = [SetOfFSCs]
    _environments = [DESKTOP_TKINTER]

    def _visualize(self, obj: Any, **kwargs: Any) -> List[View]:
        curves = {
            name: (found["frequency_inv_angst"], found["fsc"])
            for name, found in read_fsc_set(obj).items()
        }
        return [FigureView(figures.named_fsc(curves), "FSC", self.getParent())]
