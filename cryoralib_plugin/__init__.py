# SPDX-License-Identifier: GPL-3.0-or-later
"""Cryo-RALib: 2D alignment and classification of cryo-EM particles, for Scipion and by hand.

Importing this package imports nothing else of it: the engine runs without pyworkflow and the
Scipion side without NumPy's heavier relatives. Scipion asks for `Plugin`, which is then looked up.
"""

import os as _os

__version__ = "1.0.0"

_logo = "icon.png"
_references = ["Chung2020", "Hu2018", "delaRosaTrevin2016"]

# In a checkout protocols/ and viewers/ lie beside this folder; a wheel has them inside it.
_checkout = _os.path.dirname(_os.path.dirname(_os.path.abspath(__file__)))
if all(_os.path.exists(_os.path.join(_checkout, name)) for name in ("setup.py", "protocols")):
    __path__.append(_checkout)


def __getattr__(name: str) -> object:
    """`Plugin`, imported when Scipion first asks for it (PEP 562)."""
    if name == "Plugin":
        from cryoralib_plugin.scipion.plugin import Plugin

        return Plugin
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
