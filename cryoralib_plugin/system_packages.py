# SPDX-License-Identifier: GPL-3.0-or-later
"""What only the system can supply, checked before anything is installed; standard library only."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from typing import List, NamedTuple


class SystemPackage(NamedTuple):
    """A Debian package, what it is for and whether this machine has what it gives."""

    package: str
    purpose: str
    is_here: bool
    is_needed: bool


QT_PACKAGES = ("libxcb-icccm4", "libxcb-keysyms1", "libxcb-xinerama0")
_QT_LIBRARIES = ("xcb-icccm", "xcb-keysyms", "xcb-xinerama")


def _has_library(name: str) -> bool:
    from ctypes.util import find_library

    return find_library(name) is not None


def system_packages() -> List[SystemPackage]:
    """Everything apt must supply, for this Python."""
    return [
        SystemPackage(
            "python3-venv",
            "makes the virtual environment",
            importlib.util.find_spec("ensurepip") is not None,
            True,
        ),
        SystemPackage(
            "python3-tk",
            "Scipion's windows",
            importlib.util.find_spec("_tkinter") is not None,
            True,
        ),
        SystemPackage(
            "g++", "tests of the CUDA kernels on the host", shutil.which("g++") is not None, True
        ),
        *(
            SystemPackage(package, "Scipion's Qt viewer", _has_library(library), False)
            for package, library in zip(QT_PACKAGES, _QT_LIBRARIES)
        ),
    ]


def complaint() -> str:
    """What is missing and the one line that mends it; empty where nothing is."""
    missing = [item for item in system_packages() if not item.is_here]
    if not missing:
        return ""
    lines = [
        f"{'missing' if item.is_needed else 'recommended'}: {item.package} ({item.purpose})"
        for item in missing
    ]
    lines.append("install with: sudo apt-get install -y " + " ".join(p.package for p in missing))
    if sys.prefix != "/usr" and any(item.package.startswith("python3-") for item in missing):
        lines.append(
            f"(those serve Debian's own python3; {sys.executable} is another Python, which must "
            "bring venv and tkinter itself: use PYTHON=/usr/bin/python3)"
        )
    return "\n".join(lines)


def main() -> int:
    """Write the complaint to the screen; 1 where something needed is missing."""
    text = complaint()
    if text:
        sys.stdout.write(text + "\n")
    return int(any(item.is_needed and not item.is_here for item in system_packages()))


if __name__ == "__main__":
    raise SystemExit(main())
