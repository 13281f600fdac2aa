# SPDX-License-Identifier: GPL-3.0-or-later
"""What the simulator draws at random: one phase of the generator's key for each purpose."""

from __future__ import annotations

from enum import IntEnum


class Phase(IntEnum):
    """Phases of `cryoralib_plugin.kernels.random`; values never change, or old seeds would."""

    DOMAIN_PLACE = 0
    DOMAIN_DENSITY = 1
    CHAIN = 2
    VIEW_DIRECTION = 3
    VIEW = 4
    VIEW_ORDER = 5
    POSE = 6
    MICROGRAPH = 7
    DEFOCUS = 8
    NOISE = 9
    INTENSITY = 10
    RAMP = 11
    JUNK = 12
    CONTAMINATION = 13
    DEFOCUS_START = 14
    MOLECULE = 15
