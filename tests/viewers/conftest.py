# SPDX-License-Identifier: GPL-3.0-or-later
"""A Scipion project with a finished alignment run, made of drawn numbers, and a screen."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from types import SimpleNamespace

import numpy as np
import pytest

from tests.reference.synthetic_run import write_synthetic_run
from tests.reference.synthetic_run3d import write_synthetic_run3d

N_PARTICLES = 60
N_CLASSES = 4


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Project, protocol, output classes and averages, and the synthetic run they come from."""
    import pwem
    import pyworkflow as pw
    from cryoralib_plugin.protocols import CryoRalibProtMultirefAlign2D
    from pwem.objects import Acquisition, Particle
    from pyworkflow.project import Manager

    from cryoralib_plugin.contract.results import ResultPaths
    from cryoralib_plugin.scipion import outputs

    pw.Config.setDomain("pwem")
    # Found by its entry point where it is installed; a bare checkout is named here.
    pwem.Domain.registerPlugin("cryoralib_plugin")
    where = os.getcwd()
    manager = Manager()
    name = f"viewers_{os.getpid()}"
    if manager.hasProject(name):
        manager.deleteProject(name)
    project = manager.createProject(name)
    os.chdir(project.path)
    source = project.newProtocol(CryoRalibProtMultirefAlign2D)
    project.saveProtocol(source)
    source.makePathsAndClean()
    particles = source._createSetOfParticles()
    particles.setSamplingRate(2.0)
    particles.setAcquisition(Acquisition(voltage=300, sphericalAberration=2.7))
    _write_stack(source._getExtraPath("stack.mrcs"), N_PARTICLES)
    for number in range(1, N_PARTICLES + 1):
        particle = Particle()
        particle.setObjId(number)
        particle.setLocation(number, source._getExtraPath("stack.mrcs"))
        particle.setAcquisition(particles.getAcquisition())
        particles.append(particle)
    source._defineOutputs(outputParticles=particles)

    protocol = project.newProtocol(CryoRalibProtMultirefAlign2D)
    protocol.inputParticles.set(source)
    protocol.inputParticles.setExtended("outputParticles")
    project.saveProtocol(protocol)
    protocol.makePathsAndClean()
    run = write_synthetic_run(
        protocol.run_dir, n_classes=N_CLASSES, n_particles=N_PARTICLES, n_iterations=3
    )
    found = outputs.read_run(protocol.run_dir)
    star = ResultPaths(protocol.run_dir).data_star(found.iteration)
    classes = protocol._createSetOfClasses2D(protocol.inputParticles)
    outputs.fill_classes(classes, outputs.read_assignments(star, 2.0), found)
    averages = protocol._createSetOfAverages()
    outputs.fill_averages(averages, found)
    aligned = protocol._createSetOfParticles()
    outputs.fill_particles(aligned, particles, outputs.read_assignments(star, 2.0))
    protocol._defineOutputs(outputClasses=classes, outputAverages=averages, outputParticles=aligned)
    for made in (source, protocol):
        made.setStatus("finished")
        made._store()
    project.mapper.commit()
    yield SimpleNamespace(project=project, protocol=protocol, run=run, classes=classes,
                          averages=averages, particles=particles, aligned=aligned)  # fmt: skip
    os.chdir(where)
    manager.deleteProject(name)


@pytest.fixture(scope="module")
def refined(finished):
    """The project with a finished 3D run of two classes, its particles and its map."""
    from cryoralib_plugin.protocols import CryoRalibProtRefine3D

    from cryoralib_plugin.scipion import outputs3d

    protocol = finished.project.newProtocol(CryoRalibProtRefine3D)
    finished.project.saveProtocol(protocol)
    protocol.makePathsAndClean()
    made = write_synthetic_run3d(
        protocol.run_dir, n_classes=2, n_particles=N_PARTICLES, n_rounds=3, symmetry="C2"
    )
    run = outputs3d.read_run3d(protocol.run_dir)
    poses = outputs3d.read_poses3d(run.paths.data_star(3), finished.particles)
    particles = protocol._createSetOfParticles()
    outputs3d.fill_particles(particles, finished.particles, poses)
    volume = outputs3d.volume_of(run, 1)
    fscs = protocol._createSetOfFSCs()
    outputs3d.fill_fscs(fscs, run)
    protocol._defineOutputs(outputParticles=particles, outputVolume=volume, outputFSC=fscs)
    protocol.setStatus("finished")
    protocol._store()
    finished.project.mapper.commit()
    return SimpleNamespace(project=finished.project, protocol=protocol, run=made,
                           particles=particles, volume=volume, fscs=fscs)  # fmt: skip


def _write_stack(path: str, n_images: int) -> None:
    from cryoralib_plugin.io.mrc import write_stack

    os.makedirs(os.path.dirname(path), exist_ok=True)
    images = np.random.default_rng(0).normal(size=(n_images, 32, 32)).astype(np.float32)
    write_stack(path, images, pixel_size_angst=2.0)


@pytest.fixture(scope="session")
def screen():
    """An X server without a monitor; tests of windows are skipped where Xvfb is not installed."""
    if shutil.which("Xvfb") is None:
        pytest.skip("Xvfb is not installed, so no window can be opened")
    number = 90 + os.getpid() % 900
    server = subprocess.Popen(
        ["Xvfb", f":{number}", "-screen", "0", "1600x1000x24"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    earlier = os.environ.get("DISPLAY")
    os.environ["DISPLAY"] = f":{number}"
    for _ in range(100):
        if os.path.exists(f"/tmp/.X11-unix/X{number}"):
            break
        time.sleep(0.1)
    yield number
    if earlier is None:
        del os.environ["DISPLAY"]
    else:
        os.environ["DISPLAY"] = earlier
    server.terminate()
    server.wait()
