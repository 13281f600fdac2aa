# SPDX-License-Identifier: GPL-3.0-or-later
"""CUDA twin of the sums of slices; see the package."""

from __future__ import annotations

from typing import Any

import numpy as np

from cryoralib_plugin.arrays import namespace_of
from cryoralib_plugin.fourier.band import FourierBand
from cryoralib_plugin.kernels._compile import blocks_for, kernel

from . import SliceSums, Views

_THREADS = 256


def add_slices(sums: SliceSums, spectra: Any, power: Any, views: Views, band: FourierBand) -> bool:
    """Add the views to the sums; return whether all values were sound."""
    xp = namespace_of(spectra)
    n_views = views.rotations.shape[0]
    if n_views * band.n_terms == 0:
        return True
    unsound = xp.zeros(1, dtype=xp.int32)
    kernel("cryoralib_plugin.kernels.backproject", "backproject", "add_slices", exact=True)(
        blocks_for(n_views * band.n_terms, _THREADS),
        (_THREADS,),
        (
            spectra.view(xp.float32),
            power,
            views.rotations,
            xp.asarray(views.image, dtype=xp.int64),
            views.weight,
            xp.asarray(band.kx * np.float32(sums.padding), dtype=xp.float32),
            xp.asarray(band.ky * np.float32(sums.padding), dtype=xp.float32),
            sums.data,
            sums.weight,
            unsound,
            np.int64(n_views),
            np.int32(band.n_terms),
            np.int32(sums.weight.shape[2] - 1),
            np.float64(1.0 / sums.data_unit),
            np.float64(1.0 / sums.weight_unit),
            np.float32(sums.largest[0]),
            np.float32(sums.largest[1]),
        ),
    )
    return not bool(unsound[0])
