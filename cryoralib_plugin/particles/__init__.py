# SPDX-License-Identifier: GPL-3.0-or-later
"""The particle set: what is known of each particle (a table) and its images (a source)."""
