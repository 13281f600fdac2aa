# SPDX-License-Identifier: GPL-3.0-or-later
"""Rotations, rigid motions in the plane and polar rings."""
