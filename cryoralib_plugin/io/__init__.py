# SPDX-License-Identifier: GPL-3.0-or-later
"""The only room that opens files: image stacks, STAR tables and the files of a run."""
