# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures of results: arrays in, matplotlib Figure out; no files, no windows, no pyplot state.

Viewers show them, notebooks display them, the report program saves them.
"""

from .certainty import (
    certainty,
    class_certainty,
    defocus_change,
    has_certainty,
    has_defocus_change,
    score_against_uncertainty,
)
from .convergence import convergence
from .directional import directional_fsc
from .evolution import average_evolution
from .gallery import (
    CLASSES_PER_PAGE,
    GalleryPage,
    class_gallery,
    class_of_axes,
    mark_selected,
    n_pages,
)
from .maps import map_views
from .occupancy import class_occupancy, effective_classes, score_histogram
from .orientation import inplane_angles, mirror_fractions, shift_density
from .resolution import crossing_inv_angst, frc_curves
from .rounds import class_shares, progress, resolution_and_cutoff
from .scene import MASK_LEVEL, Surface, chimerax_script, contour_level, surfaces_of_class
from .shell_correlation import compared_fsc, half_map_fsc, named_fsc
from .style import figure_in_words
from .tables import (
    SORT_ORDERS,
    ClassTable,
    FrcTable,
    History,
    IterationResults,
    PoseTable,
)
from .tables3d import DirectionalFsc, FscTable, RefinedParticles, RoundResults
from .views import orientation_sphere

__all__ = [
    "CLASSES_PER_PAGE",
    "MASK_LEVEL",
    "SORT_ORDERS",
    "ClassTable",
    "DirectionalFsc",
    "FrcTable",
    "FscTable",
    "GalleryPage",
    "History",
    "IterationResults",
    "PoseTable",
    "RefinedParticles",
    "RoundResults",
    "Surface",
    "average_evolution",
    "certainty",
    "chimerax_script",
    "class_certainty",
    "class_gallery",
    "class_occupancy",
    "class_of_axes",
    "class_shares",
    "compared_fsc",
    "contour_level",
    "convergence",
    "crossing_inv_angst",
    "defocus_change",
    "directional_fsc",
    "effective_classes",
    "figure_in_words",
    "frc_curves",
    "half_map_fsc",
    "has_certainty",
    "has_defocus_change",
    "inplane_angles",
    "map_views",
    "mark_selected",
    "mirror_fractions",
    "n_pages",
    "named_fsc",
    "orientation_sphere",
    "progress",
    "resolution_and_cutoff",
    "score_against_uncertainty",
    "score_histogram",
    "shift_density",
    "surfaces_of_class",
]
