# SPDX-License-Identifier: GPL-3.0-or-later
"""CUDA twin of the central slices; see the package."""

from __future__ import annotations

from typing import Any

import numpy as np

from cryoralib_plugin.arrays import namespace_of
from cryoralib_plugin.fourier.band import FourierBand
from cryoralib_plugin.fourier.volume import FourierVolume
from cryoralib_plugin.kernels._compile import blocks_for, kernel

_THREADS = 256


def project(volume: FourierVolume, rotations: Any, band: FourierBand) -> Any:
    """See the package."""
    xp = namespace_of(rotations)
    slices = xp.empty((rotations.shape[0], band.n_terms), dtype=xp.complex64)
    if slices.size == 0:
        return slices
    kernel("cryoralib_plugin.kernels.project", "project", "project", exact=True)(
        blocks_for(slices.size, _THREADS),
        (_THREADS,),
        (
            xp.ascontiguousarray(volume.values).view(xp.float32),
            rotations,
            xp.asarray(band.kx * np.float32(volume.padding), dtype=xp.float32),
            xp.asarray(band.ky * np.float32(volume.padding), dtype=xp.float32),
            slices.view(xp.float32),
            np.int64(rotations.shape[0]),
            np.int32(band.n_terms),
            np.int32(volume.values.shape[2] - 1),
        ),
    )
    return slices
