# SPDX-License-Identifier: GPL-3.0-or-later
"""Multi-reference (MRA) and reference-free (RFA) alignment of particle images in the plane."""

from cryoralib_plugin.align2d.run import run

__all__ = ["run"]
