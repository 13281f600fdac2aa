# SPDX-License-Identifier: GPL-3.0-or-later
"""CUDA twin of the image transform; see the package."""

from __future__ import annotations

from typing import Any

import numpy as np

from cryoralib_plugin.arrays import namespace_of
from cryoralib_plugin.kernels._compile import blocks_for, kernel

_THREADS = 256


def transform_images(images: Any, poses: np.ndarray) -> Any:
    """Return the images moved by rows of ``pose_rows``; see the package."""
    xp = namespace_of(images)
    transformed = xp.empty_like(images)
    if images.size == 0:
        return transformed
    kernel("cryoralib_plugin.kernels.transform2d", "transform2d", "transform_images", exact=True)(
        blocks_for(images.size, _THREADS),
        (_THREADS,),
        (
            xp.ascontiguousarray(images),
            xp.asarray(poses),
            transformed,
            np.int64(images.shape[0]),
            np.int32(images.shape[1]),
        ),
    )
    return transformed
