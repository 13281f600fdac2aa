# SPDX-License-Identifier: GPL-3.0-or-later
"""Simulation of particle images whose truth is known exactly; the program ``simulate``."""

from __future__ import annotations

from .run import simulate
from .view_set import QUALITY_SEEDS, ViewSet, simulate_views

__all__ = ["QUALITY_SEEDS", "ViewSet", "simulate", "simulate_views"]
