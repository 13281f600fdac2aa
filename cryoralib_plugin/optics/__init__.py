# SPDX-License-Identifier: GPL-3.0-or-later
"""Optics of the microscope."""
