# SPDX-License-Identifier: GPL-3.0-or-later
"""Initial references read from a file."""

from __future__ import annotations

from typing import Any, Optional

import numpy as np

from cryoralib_plugin.contract._param import ConfigError
from cryoralib_plugin.io.stack import read_stack, read_stack_header

# Relative difference of pixel sizes that counts as the same: headers are float32 and rounded.
PIXEL_SIZE_TOLERANCE = 0.01


def read_references(config: Any, source: Any, comm: Any) -> Optional[np.ndarray]:
    """Return the references the parameters name, (n_classes, N, N) float32, or None.

    Raises
    ------
    ConfigError
        If they do not fit the particles, see :func:`check_references`.
    """
    path = getattr(config.files, "references_file", "")
    if not path:
        return None
    if not comm.is_root:
        return comm.broadcast(None)
    check_references(read_stack_header(path), source.box_size_px, source.pixel_size_angst)
    images, _ = read_stack(path)
    return comm.broadcast(images)


def check_references(header: Any, box_size_px: int, pixel_size_angst: float) -> None:
    """Check the stack of references against the prepared particles.

    Parameters
    ----------
    header : of the stack, from `io.stack.read_stack_header`.

    Raises
    ------
    ConfigError
        If their box or their pixel size, where it is known, differs from that of the particles.
    """
    sides = (header.n_columns, header.n_rows)
    if sides != (box_size_px, box_size_px):
        raise ConfigError(
            f"references must have the box of the particles, {box_size_px} x {box_size_px} px, but "
            f"those in {header.path} have {sides[0]} x {sides[1]} px: resample them, or set "
            "downsample_box_px so that the boxes agree"
        )
    theirs = header.pixel_size_angst
    # 0 and 1 are what programs write that do not know the pixel size.
    told = theirs not in (0.0, 1.0)
    if told and abs(theirs / pixel_size_angst - 1.0) > PIXEL_SIZE_TOLERANCE:
        raise ConfigError(
            f"the references in {header.path} have pixels of {theirs:g} A, but the particles are "
            f"aligned at {pixel_size_angst:g} A: resample the references, or set "
            "downsample_box_px so that both agree"
        )
