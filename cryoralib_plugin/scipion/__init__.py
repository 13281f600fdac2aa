# SPDX-License-Identifier: GPL-3.0-or-later
"""The glue between Scipion and the engine; the only room, with the protocols and viewers, that
knows pyworkflow."""
