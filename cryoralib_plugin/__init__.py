# SPDX-License-Identifier: GPL-3.0-or-later
"""Cryo-RALib: 2D alignment and classification of cryo-EM particles, for Scipion and by hand."""

__version__ = "1.0.0"
