# SPDX-License-Identifier: GPL-3.0-or-later
"""The variables Scipion must find before pyworkflow is imported, and Scipion started with them.

Nothing here imports pyworkflow: it reads these variables once, when it is imported.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import Dict, List, Mapping, NoReturn, Optional

HOSTS_FILE = Path(__file__).with_name("hosts.conf")
"""One machine with mpirun, and a Slurm queue, for users who have no hosts.conf of their own."""

DEFAULT_HOME = Path("~/.local/share/cryoralib/scipion")


def scipion_environment(
    home: Optional[Path] = None,
    *,
    isolated: bool = False,
    current: Optional[Mapping[str, str]] = None,
) -> Dict[str, str]:
    """The variables to set so that Scipion runs with this Python; the folders are made.

    Parameters
    ----------
    home
        SCIPION_HOME where the user has not set it; without one, a folder of ours below ~.
    isolated
        For tests and the demo: all of Scipion's folders lie below `home`, and neither the user's
        variables nor the user's configuration are used.
    current
        The environment to complete; the process's own by default. Its settings win.
    """
    current = dict(os.environ if current is None else current)
    if isolated:
        if home is None:
            raise ValueError("an isolated environment needs a home folder")
        current = {
            name: value
            for name, value in current.items()
            if not name.startswith(("SCIPION_", "EM_ROOT", "PYWORKFLOW_", "PW_", "VIEWERS"))
        }
    home_dir = Path(current.get("SCIPION_HOME") or home or DEFAULT_HOME).expanduser().resolve()
    own_hosts = home_dir / "config" / "hosts.conf"
    wanted = {
        "SCIPION_HOME": str(home_dir),
        "SCIPION_DOMAIN": "pwem",
        # Scipion's default is the first python3 in PATH: another one unless a venv is active.
        "SCIPION_PYTHON": sys.executable,
        "SCIPION_HOSTS": str(own_hosts if own_hosts.exists() else HOSTS_FILE),
        "EM_ROOT": str(home_dir / "software" / "em"),
        # Usage data would go out to a server otherwise.
        "SCIPION_NOTIFY": "False",
        "SCIPION_TEST_NOSYNC": "True",
    }
    if isolated:
        wanted["SCIPION_USER_DATA"] = str(home_dir / "user_data")
        wanted["SCIPION_LOCAL_CONFIG"] = str(home_dir / "config" / "local_scipion.conf")
        wanted["SCIPION_TESTS"] = str(home_dir / "test_data")
    environment = {name: current.get(name) or value for name, value in wanted.items()}
    # The venv's mpirun and python3 are found even where the venv is not active.
    own_bin = str(Path(sys.executable).parent)
    path = [part for part in current.get("PATH", os.defpath).split(os.pathsep) if part != own_bin]
    environment["PATH"] = os.pathsep.join([own_bin, *path])
    Path(environment["EM_ROOT"]).mkdir(parents=True, exist_ok=True)
    if isolated:
        Path(environment["SCIPION_USER_DATA"]).mkdir(parents=True, exist_ok=True)
    return environment


def start_scipion(arguments: List[str]) -> NoReturn:
    """Replace this process by Scipion: its manager, or the command the arguments name.

    `python -m scipion` is used because the `scipion` script of scipion-app 3.8 fails on Python
    3.11 and later (it uses importlib.util without importing it).
    """
    if importlib.util.find_spec("scipion") is None:
        raise ModuleNotFoundError(
            "scipion-app is not installed in this Python; install it with: "
            f"{sys.executable} -m pip install scipion-app"
        )
    environment = {**os.environ, **scipion_environment()}
    os.execve(sys.executable, [sys.executable, "-m", "scipion", *arguments], environment)
