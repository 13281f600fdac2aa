# SPDX-License-Identifier: GPL-3.0-or-later
"""CUDA twin of polar resampling; the contract is in the package."""

from __future__ import annotations

from typing import Any

import numpy as np

from cryoralib_plugin.arrays import namespace_of
from cryoralib_plugin.geometry.rings import RingLayout
from cryoralib_plugin.kernels._compile import blocks_for, kernel

from .cpu import sample_positions

_THREADS = 256


def resample_polar(images: Any, shift_px: Any, rings: RingLayout) -> Any:
    """See the package."""
    xp = namespace_of(images)
    samples = xp.empty((images.shape[0], rings.n_samples), dtype=xp.float64)
    if samples.size == 0:
        return samples
    pixel = {"float32": "float", "float64": "double"}[images.dtype.name]
    launch = kernel(
        "cryoralib_plugin.kernels.polar", "polar", f"resample_polar<{pixel}>", exact=True
    )
    launch(
        blocks_for(samples.size, _THREADS),
        (_THREADS,),
        (
            xp.ascontiguousarray(images),
            xp.ascontiguousarray(shift_px, dtype=xp.float64),
            xp.asarray(np.ascontiguousarray(sample_positions(rings).T)),
            samples,
            np.int64(images.shape[0]),
            np.int32(rings.n_samples),
            np.int32(images.shape[1]),
        ),
    )
    return samples
