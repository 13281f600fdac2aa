# SPDX-License-Identifier: GPL-3.0-or-later
"""Viewers of 2D and 3D results, without Java: of our protocols' runs and of anybody's results."""

from .viewer_align2d import CryoRalibAlign2DViewer
from .viewer_classes2d import CryoRalibClasses2DViewer
from .viewer_fsc import CryoRalibFscViewer
from .viewer_maps import CryoRalibMapViewer
from .viewer_poses2d import CryoRalibPoses2DViewer
from .viewer_refine3d import CryoRalibRefine3DViewer
from .viewer_views3d import CryoRalibViews3DViewer

__all__ = [
    "CryoRalibAlign2DViewer",
    "CryoRalibClasses2DViewer",
    "CryoRalibFscViewer",
    "CryoRalibMapViewer",
    "CryoRalibPoses2DViewer",
    "CryoRalibRefine3DViewer",
    "CryoRalibViews3DViewer",
]
