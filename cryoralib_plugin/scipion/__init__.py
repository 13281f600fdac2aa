# SPDX-License-Identifier: GPL-3.0-or-later
"""Glue between Scipion and the engine that is neither protocol nor viewer."""
