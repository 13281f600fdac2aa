# SPDX-License-Identifier: GPL-3.0-or-later
"""What the Scipion side and the engine must agree on; standard library only."""
