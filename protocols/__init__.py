# SPDX-License-Identifier: GPL-3.0-or-later
"""The protocols Scipion finds in this package."""

from .protocol_classify3d import CryoRalibProtClassify3D
from .protocol_import_star import CryoRalibProtImportStar
from .protocol_multiref_align2d import CryoRalibProtMultirefAlign2D
from .protocol_reconstruct import CryoRalibProtReconstruct
from .protocol_ref_free_align2d import CryoRalibProtRefFreeAlign2D
from .protocol_refine3d import CryoRalibProtRefine3D
from .protocol_simulate_particles import CryoRalibProtSimulateParticles

__all__ = [
    "CryoRalibProtClassify3D",
    "CryoRalibProtImportStar",
    "CryoRalibProtMultirefAlign2D",
    "CryoRalibProtReconstruct",
    "CryoRalibProtRefFreeAlign2D",
    "CryoRalibProtRefine3D",
    "CryoRalibProtSimulateParticles",
]
