# SPDX-License-Identifier: GPL-3.0-or-later
"""Many ranks as one object."""
