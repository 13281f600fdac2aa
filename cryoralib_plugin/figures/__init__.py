# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures of 2D results: arrays in, matplotlib Figure out; no files, no windows, no pyplot state.

Viewers show them, notebooks display them, the report program saves them.
"""

from .convergence import convergence
from .evolution import average_evolution
from .gallery import (
    CLASSES_PER_PAGE,
    GalleryPage,
    class_gallery,
    class_of_axes,
    mark_selected,
    n_pages,
)
from .occupancy import class_occupancy, effective_classes, score_histogram
from .orientation import inplane_angles, mirror_fractions, shift_density
from .resolution import crossing_inv_angst, frc_curves
from .style import figure_in_words
from .tables import (
    SORT_ORDERS,
    ClassTable,
    FrcTable,
    History,
    IterationResults,
    PoseTable,
)

__all__ = [
    "CLASSES_PER_PAGE",
    "SORT_ORDERS",
    "ClassTable",
    "FrcTable",
    "GalleryPage",
    "History",
    "IterationResults",
    "PoseTable",
    "average_evolution",
    "class_gallery",
    "class_occupancy",
    "class_of_axes",
    "convergence",
    "crossing_inv_angst",
    "effective_classes",
    "figure_in_words",
    "frc_curves",
    "inplane_angles",
    "mark_selected",
    "mirror_fractions",
    "n_pages",
    "score_histogram",
    "shift_density",
]
