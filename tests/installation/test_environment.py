# SPDX-License-Identifier: GPL-3.0-or-later
"""Scipion's variables: the user's own win, and a test or demo touches nothing of the user's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cryoralib_plugin.scipion.environment import HOSTS_FILE, scipion_environment


def test_what_scipion_must_find_is_there(tmp_path):
    found = scipion_environment(tmp_path, current={"PATH": "/usr/bin"})
    assert found["SCIPION_HOME"] == str(tmp_path)
    assert found["SCIPION_DOMAIN"] == "pwem"
    assert found["SCIPION_PYTHON"] == sys.executable
    assert found["SCIPION_NOTIFY"] == "False"
    assert found["SCIPION_HOSTS"] == str(HOSTS_FILE)
    assert found["PATH"].split(os.pathsep) == [str(Path(sys.executable).parent), "/usr/bin"]
    assert Path(found["EM_ROOT"]).is_dir()


def test_the_users_own_settings_win(tmp_path):
    home = tmp_path / "own"
    (home / "config").mkdir(parents=True)
    (home / "config" / "hosts.conf").write_text("[localhost]\n")
    current = {"SCIPION_HOME": str(home), "SCIPION_NOTIFY": "True", "SCIPION_PYTHON": "/a/python"}
    found = scipion_environment(tmp_path / "other", current=current)
    assert found["SCIPION_HOME"] == str(home)
    assert (found["SCIPION_NOTIFY"], found["SCIPION_PYTHON"]) == ("True", "/a/python")
    assert found["SCIPION_HOSTS"] == str(home / "config" / "hosts.conf")


def test_an_isolated_environment_leaves_the_user_alone(tmp_path):
    current = {"SCIPION_HOME": "/users/home", "SCIPION_USER_DATA": "/users/data", "PATH": "/bin"}
    found = scipion_environment(tmp_path, isolated=True, current=current)
    folders = ("SCIPION_HOME", "SCIPION_USER_DATA", "SCIPION_LOCAL_CONFIG", "EM_ROOT")
    assert all(found[name].startswith(str(tmp_path)) for name in folders)
    with pytest.raises(ValueError, match="needs a home folder"):
        scipion_environment(isolated=True)


def test_scipion_reads_the_hosts_file_and_its_slurm_queue():
    pytest.importorskip("pyworkflow")
    from pyworkflow.protocol.hosts import HostConfig

    hosts = HostConfig.load(str(HOSTS_FILE))
    queue = hosts["localhost"].queueSystem
    assert queue.getName() == "SLURM"
    template = queue.submitTemplate.get()
    assert "#SBATCH --ntasks=%(JOB_NODES)d" in template
    assert queue.getQueues()["default"][0][0] == "JOB_TIME"


def test_the_launcher_starts_scipion(tmp_path):
    pytest.importorskip("scipion")
    environment = {**os.environ, "SCIPION_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "cryoralib_plugin", "scipion", "version"],
        env=environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Scipion v" in done.stdout
