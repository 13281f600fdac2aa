# SPDX-License-Identifier: GPL-3.0-or-later
"""The report program: a run directory becomes pictures and one page that needs nothing else."""

from .write import write_report

__all__ = ["write_report"]
