# SPDX-License-Identifier: GPL-3.0-or-later
"""Initial references read from a file."""

from __future__ import annotations

from typing import Any, Optional

import numpy as np

from cryoralib_plugin.contract._param import ConfigError
from cryoralib_plugin.io.stack import read_stack

# Relative difference of pixel sizes that counts as the same: headers are float32 and rounded.
PIXEL_SIZE_TOLERANCE = 0.01


def read_references(config: Any, source: Any, comm: Any) -> Optional[np.ndarray]:
    """Return the references the parameters name, (n_classes, N, N) float32, or None.

    Raises
    ------
    ConfigError
        If their pixel size is known and differs from that of the particles.
    """
    path = getattr(config.files, "references_file", "")
    if not path:
        return None
    if not comm.is_root:
        return comm.broadcast(None)
    images, theirs = read_stack(path)
    ours = source.pixel_size_angst
    # 0 and 1 are what programs write that do not know the pixel size.
    told = theirs not in (0.0, 1.0)
    if told and abs(theirs / ours - 1.0) > PIXEL_SIZE_TOLERANCE:
        raise ConfigError(
            f"the references in {path} have pixels of {theirs:g} A, but the particles are aligned "
            f"at {ours:g} A: resample the references, or set downsample_box_px so that both agree"
        )
    return comm.broadcast(images)
