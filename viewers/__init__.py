# SPDX-License-Identifier: GPL-3.0-or-later
"""Viewers of 2D results, without Java: of our protocols' runs and of anybody's class averages."""

from .viewer_align2d import CryoRalibAlign2DViewer
from .viewer_classes2d import CryoRalibClasses2DViewer
from .viewer_poses2d import CryoRalibPoses2DViewer

__all__ = ["CryoRalibAlign2DViewer", "CryoRalibClasses2DViewer", "CryoRalibPoses2DViewer"]
