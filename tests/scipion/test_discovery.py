# SPDX-License-Identifier: GPL-3.0-or-later
"""Scipion finds the plugin, its protocols and wizards; nothing heavy is imported for that."""

import json
import os
import subprocess
import sys
import unittest
from configparser import RawConfigParser
from pathlib import Path

import pwem
import pyworkflow as pw

import cryoralib_plugin

PACKAGE = Path(cryoralib_plugin.__file__).parent
PROTOCOLS = {
    "CryoRalibProtClassify3D",
    "CryoRalibProtImportStar",
    "CryoRalibProtMultirefAlign2D",
    "CryoRalibProtReconstruct",
    "CryoRalibProtRefFreeAlign2D",
    "CryoRalibProtRefine3D",
    "CryoRalibProtSimulateParticles",
}


def registered():
    """The plugin as Scipion's domain sees it; registered by hand where it is not installed."""
    pw.Config.setDomain("pwem")
    domain = pw.Config.getDomain()
    if "cryoralib_plugin" not in domain.getPlugins():
        domain.registerPlugin("cryoralib_plugin")
    return domain


class TestDiscovery(unittest.TestCase):
    def test_plugin_is_registered_under_its_name(self):
        module = registered().getPlugins()["cryoralib_plugin"]
        self.assertEqual(module._pluginInstance.getName(), "cryoralib")
        self.assertIsInstance(module._pluginInstance, pwem.Plugin)
        self.assertEqual(Path(module._pluginInstance.getPath()), PACKAGE)

    def test_protocols_are_discovered_with_unique_names(self):
        domain = registered()
        found = {
            name for name, found in domain.getProtocols().items() if name.startswith("CryoRalib")
        }
        self.assertEqual(found, PROTOCOLS)
        for name in PROTOCOLS:
            protocol = domain.getProtocols()[name]
            self.assertTrue(protocol.__module__.startswith("cryoralib_plugin.protocols"))
            self.assertTrue(protocol.getClassLabel().startswith("cryoralib - "))
            self.assertTrue(protocol.isInstalled(), protocol.validateInstallation())
            self.assertTrue(protocol.getHelpText().strip())

    def test_wizards_are_found_for_radius_and_hardware(self):
        domain = registered()
        for name in ("CryoRalibProtMultirefAlign2D", "CryoRalibProtRefFreeAlign2D"):
            protocol = domain.getProtocols()[name]()
            wizards = domain.findWizards(protocol, "tkinter")
            for parameter in ("innerRadiusPx", "outerRadiusPx", "useMyHardware", "batchSize"):
                self.assertTrue(protocol.hasAttribute(parameter), parameter)
                self.assertIn(parameter, wizards)

    def test_wizards_are_found_for_diameter_and_symmetry(self):
        domain = registered()
        for name in (
            "CryoRalibProtRefine3D",
            "CryoRalibProtClassify3D",
            "CryoRalibProtReconstruct",
        ):
            protocol = domain.getProtocols()[name]()
            wizards = domain.findWizards(protocol, "tkinter")
            for parameter in ("particleDiameterAngst", "symmetry", "useMyHardware", "batchSize"):
                self.assertTrue(protocol.hasAttribute(parameter), parameter)
                self.assertIn(parameter, wizards)

    def test_every_protocol_stands_in_scipions_tree_in_existing_groups(self):
        ours, theirs = _tree(PACKAGE), _tree(Path(pwem.__file__).parent)
        self.assertEqual({value for _, value in ours if value}, PROTOCOLS)
        groups = {path for path, _ in theirs}
        for path, _ in ours:
            self.assertIn(path, groups)

    def test_references_and_logo_exist(self):
        module = registered().getPlugins()["cryoralib_plugin"]
        for reference in cryoralib_plugin._references:
            self.assertIn(reference, module._bibtex)
            self.assertIn("doi", module._bibtex[reference])
        self.assertTrue((PACKAGE / cryoralib_plugin._logo).is_file())

    def test_package_imports_without_pyworkflow(self):
        self._run_blocked(("pyworkflow", "pwem"), "import cryoralib_plugin.contract.align2d")

    def test_protocols_import_without_the_engines_packages(self):
        code = (
            "import pyworkflow as pw; pw.Config.setDomain('pwem'); "
            "import cryoralib_plugin.protocols, cryoralib_plugin.wizards; "
            "from cryoralib_plugin import Plugin"
        )
        self._run_blocked(("cupy", "numba", "mpi4py", "pandas", "starfile"), code)

    def _run_blocked(self, names, code):
        """Run code in a process where these packages cannot be imported."""
        block = f"import sys; sys.modules.update(dict.fromkeys({names!r}))\n"
        environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
        done = subprocess.run(
            [sys.executable, "-c", block + code], env=environment, capture_output=True, text=True
        )
        self.assertEqual(done.returncode, 0, done.stderr)


def _tree(package):
    """(path of texts, protocol or "") of every node of a package's protocols.conf."""
    parser = RawConfigParser()
    parser.optionxform = str
    parser.read(package / "protocols.conf")
    found = []

    def walk(nodes, path):
        for node in nodes:
            if node["tag"] == "protocol":
                found.append((path, node["value"]))
            else:
                here = (*path, node["text"])
                found.append((here, ""))
                walk(node.get("children", []), here)

    for section in parser.sections():
        for name, text in parser.items(section):
            walk(json.loads(text), (name,))
    return found
