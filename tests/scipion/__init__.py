# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the Scipion side: `scipion tests` finds them as cryoralib_plugin.tests, pytest here."""
