# SPDX-License-Identifier: GPL-3.0-or-later
"""Particle-filter refinement and classification of maps."""
