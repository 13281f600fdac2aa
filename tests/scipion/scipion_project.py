# SPDX-License-Identifier: GPL-3.0-or-later
"""A Scipion project for tests, and the plugin visible to the processes it starts."""

import os
import shutil
import sys
import tempfile
from importlib import metadata
from pathlib import Path

import mrcfile
import numpy as np
import pyworkflow as pw
from pwem.objects import SetOfParticles
from pyworkflow.project import Manager
from pyworkflow.tests import BaseTest

import cryoralib_plugin
from cryoralib_plugin.tests import synthetic_set
from cryoralib_plugin.tests.test_discovery import registered

REPOSITORY = Path(cryoralib_plugin.__file__).resolve().parent.parent
BOX = 32


def make_discoverable():
    """Let child processes find the entry point where the package runs uninstalled."""
    try:
        metadata.distribution("scipion-em-cryoralib")
        return
    except metadata.PackageNotFoundError:
        folder = Path(tempfile.mkdtemp(prefix="cryoralib_entry_point_"))
    information = folder / f"scipion_em_cryoralib-{cryoralib_plugin.__version__}.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: scipion-em-cryoralib\n"
        f"Version: {cryoralib_plugin.__version__}\n"
    )
    (information / "entry_points.txt").write_text(
        "[pyworkflow.plugin]\ncryoralib_plugin = cryoralib_plugin\n"
    )
    earlier = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(folder), str(REPOSITORY), earlier])
    sys.path.append(str(folder))


class ProjectTest(BaseTest):
    """A test class with a project of its own; the present folder is the project's meanwhile."""

    hosts = ""
    """Text of a hosts.conf for the project; the environment's own where it is empty."""

    @classmethod
    def setUpClass(cls):
        make_discoverable()
        registered()
        cls._before = os.getcwd()
        hosts_file = None
        if cls.hosts:
            folder = tempfile.mkdtemp(prefix="cryoralib_hosts_")
            hosts_file = os.path.join(folder, "hosts.conf")
            Path(hosts_file).write_text(cls.hosts)
            cls.addClassCleanup(shutil.rmtree, folder, ignore_errors=True)
        cls.proj = Manager().createProject(cls.__name__, hostsConf=hosts_file)
        cls.outputPath = cls.proj.path
        os.chdir(cls.proj.path)
        cls.addClassCleanup(os.chdir, cls._before)

    @classmethod
    def new(cls, name, inputs=(), **values):
        """A new protocol; inputs are {parameter: (protocol, name of its output)}."""
        found = pw.Config.getDomain().getProtocols()[name]
        protocol = cls.proj.newProtocol(found, **values)
        for parameter, (parent, output) in dict(inputs).items():
            getattr(protocol, parameter).set(parent)
            getattr(protocol, parameter).setExtended(output)
        return protocol

    @classmethod
    def run_to_end(cls, protocol):
        """Launch a protocol, wait, and read it again from the project."""
        cls.proj.launchProtocol(protocol, wait=True)
        return cls.proj.getProtocol(protocol.getObjId())

    @classmethod
    def particles(cls, n_particles=40, box=BOX, name="given"):
        """A set of particles with CTF and 2D poses, beside the project's runs."""
        stack = f"{name}.mrcs"
        with mrcfile.new(stack, overwrite=True) as file:
            file.set_data(
                np.random.default_rng(5).normal(size=(n_particles, box, box)).astype("f4")
            )
        Path(f"{name}.sqlite").unlink(missing_ok=True)
        particles = SetOfParticles(filename=f"{name}.sqlite")
        synthetic_set.fill_by_item(particles, n_particles, stack)
        particles.write()
        return particles


def simulated_views(folder, n_views=3, per_view=20, box=BOX, noise=0.3):
    """Write view{k}-wise particles with shifts and rotations; the STAR file and the true views."""
    from scipy import ndimage

    random = np.random.default_rng(2)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    rows, columns = np.mgrid[:box, :box] - box // 2
    views = []
    for _ in range(n_views):
        centres = random.uniform(-box / 5, box / 5, (6, 2))
        views.append(
            sum(
                np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * (box / 16) ** 2))
                for y, x in centres
            )
        )
    truth = np.repeat(np.arange(n_views), per_view)
    random.shuffle(truth)
    images = np.empty((len(truth), box, box), np.float32)
    for number, view in enumerate(truth):
        turned = ndimage.rotate(views[view], random.uniform(0, 360), reshape=False, order=1)
        moved = ndimage.shift(turned, random.integers(-1, 2, 2), order=1)
        images[number] = moved + noise * random.normal(size=(box, box))
    with mrcfile.new(folder / "views.mrcs", overwrite=True) as stack:
        stack.set_data(images)
    lines = "\n".join(
        f"{number:06d}@views.mrcs mic.mrc 1 12000 11000 30" for number in range(1, len(truth) + 1)
    )
    (folder / "views.star").write_text(
        "data_optics\n\nloop_\n_rlnOpticsGroup #1\n_rlnOpticsGroupName #2\n_rlnVoltage #3\n"
        "_rlnSphericalAberration #4\n_rlnAmplitudeContrast #5\n_rlnImagePixelSize #6\n"
        "_rlnImageSize #7\n_rlnImageDimensionality #8\n"
        f"1 one 300 2.7 0.1 4.0 {box} 2\n\n"
        "data_particles\n\nloop_\n_rlnImageName #1\n_rlnMicrographName #2\n_rlnOpticsGroup #3\n"
        f"_rlnDefocusU #4\n_rlnDefocusV #5\n_rlnDefocusAngle #6\n{lines}\n\n"
    )
    return folder / "views.star", truth
