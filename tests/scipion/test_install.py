# SPDX-License-Identifier: GPL-3.0-or-later
"""`scipion installp --devel` from a folder named like the distribution, and what Scipion then sees.

Takes half a minute: pip builds the package twice, in an environment of its own. That environment
sees the packages of the present one, so that only the build system is downloaded.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import unittest
import zipfile
from pathlib import Path

import cryoralib_plugin
from cryoralib_plugin.scipion.environment import scipion_environment

REPOSITORY = Path(cryoralib_plugin.__file__).resolve().parent.parent
DISTRIBUTION = "scipion-em-cryoralib"
_NO_NETWORK = ("No matching distribution found for setuptools", "Temporary failure in name")


@unittest.skipUnless((REPOSITORY / "setup.py").is_file(), "only a checkout can be installed from")
class TestInstall(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = Path(tempfile.mkdtemp(prefix="cryoralib_install_"))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.source = cls.folder / DISTRIBUTION
        cls.source.mkdir()
        for path in REPOSITORY.iterdir():
            if path.is_file():
                shutil.copy(path, cls.source)
        unwanted = shutil.ignore_patterns("__pycache__", "*.egg-info")
        for name in ("cryoralib_plugin", "protocols", "viewers", "tests/scipion"):
            if (REPOSITORY / name).is_dir():
                shutil.copytree(
                    REPOSITORY / name, cls.source / name, symlinks=True, ignore=unwanted
                )
        subprocess.run([sys.executable, "-m", "venv", str(cls.folder / "env")], check=True)
        cls.python = cls.folder / "env" / "bin" / "python"
        (site_packages,) = (cls.folder / "env").glob("lib/python*/site-packages")
        outer = sysconfig.get_paths()["purelib"]
        (site_packages / "outer.pth").write_text(f"import site; site.addsitedir({outer!r})\n")

    def _run(self, *words):
        current = {**os.environ, "PATH": f"{self.python.parent}{os.pathsep}{os.environ['PATH']}"}
        current.pop("PYTHONPATH", None)
        environment = scipion_environment(self.folder / "home", isolated=True, current=current)
        environment["SCIPION_PYTHON"] = str(self.python)
        environment["PATH"] = current["PATH"]
        done = subprocess.run(
            [str(self.python), "-m", *words],
            env={**current, **environment},
            cwd=self.folder,
            capture_output=True,
            text=True,
        )
        return done.returncode, done.stdout + done.stderr

    def test_installp_from_a_folder_named_like_the_distribution(self):
        _, text = self._run("scipion", "installp", "-p", str(self.source), "--devel", "--noBin")
        if any(message in text for message in _NO_NETWORK):
            self.skipTest("pip cannot download its build system: no network")
        self.assertIn(f"Successfully installed {DISTRIBUTION}", text)
        self.assertNotIn("ERROR", text)
        _, text = self._run("scipion", "protocols")
        self.assertIn("CryoRalibProtMultirefAlign2D", text)
        self.assertNotIn("does not import properly", text)
        _, text = self._run("scipion", "tests", "--grep", "cryoralib_plugin", "--show")
        for path in (REPOSITORY / "tests" / "scipion").glob("test_*.py"):
            self.assertIn(f"cryoralib_plugin.tests.{path.stem}", text)

    def test_wheel_holds_everything_once(self):
        code, text = self._run(
            "pip", "wheel", "--no-deps", "--wheel-dir", str(self.folder), str(self.source)
        )
        if any(message in text for message in _NO_NETWORK):
            self.skipTest("pip cannot download its build system: no network")
        self.assertEqual(code, 0, text)
        (wheel,) = self.folder.glob("*.whl")
        names = zipfile.ZipFile(wheel).namelist()
        self.assertEqual(len(names), len(set(names)))
        for name in (
            "cryoralib_plugin/protocols/protocol_multiref_align2d.py",
            "cryoralib_plugin/tests/test_discovery.py",
            "cryoralib_plugin/protocols.conf",
            "cryoralib_plugin/icon.png",
            "cryoralib_plugin/scipion/hosts.conf",
            "cryoralib_plugin/templates/star_to_averages.json.template",
        ):
            self.assertEqual(names.count(name), 1, name)
        tops = {name.split("/")[0] for name in names}
        self.assertEqual(
            {top for top in tops if not top.endswith(".dist-info")}, {"cryoralib_plugin"}
        )
