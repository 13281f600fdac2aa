# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m cryoralib_plugin PROGRAM`; see cli."""

from .cli import main

if __name__ == "__main__":
    raise SystemExit(main())
