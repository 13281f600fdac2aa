# SPDX-License-Identifier: GPL-3.0-or-later
"""Large sets of particles and results without images, for tests and benchmarks."""

from __future__ import annotations

import numpy as np
from pwem.constants import ALIGN_2D
from pwem.objects import Acquisition, Coordinate, CTFModel, Particle, Transform
from pyworkflow.object import Integer

from cryoralib_plugin.contract import labels
from cryoralib_plugin.scipion.alignment import matrices_2d, matrix_texts
from cryoralib_plugin.scipion.star import write_loop

PIXEL_SIZE_ANGST = 1.5


def synthetic_particle(number, stack, seed=7):
    """One particle with CTF, coordinate, acquisition, pose and half set."""
    random = np.random.default_rng([seed, number])
    particle = Particle()
    particle.setObjId(number)
    particle.setLocation(number, stack)
    particle.setSamplingRate(PIXEL_SIZE_ANGST)
    particle.setAcquisition(synthetic_acquisition())
    particle.setCTF(
        CTFModel(defocusU=15000 + float(random.random()), defocusV=14000.0, defocusAngle=30.0)
    )
    coordinate = Coordinate(x=int(random.integers(4000)), y=int(random.integers(4000)))
    coordinate.setMicId(number // 100 + 1)
    coordinate.setMicName(f"mic{number // 100 + 1:05d}.mrc")
    particle.setCoordinate(coordinate)
    psi, shift = random.uniform(-180, 180, 1), random.uniform(-3, 3, (1, 2))
    particle.setTransform(Transform(matrix=matrices_2d(psi, shift, random.random(1) < 0.5)[0]))
    particle._rlnRandomSubset = Integer(1 + number % 2)
    return particle


def synthetic_acquisition():
    acquisition = Acquisition(
        voltage=300.0, sphericalAberration=2.7, amplitudeContrast=0.1, magnification=50000.0
    )
    return acquisition


def fill_by_item(particles, n_particles, stack):
    """Fill a set through pyworkflow."""
    _describe(particles)
    for number in range(1, n_particles + 1):
        particles.append(synthetic_particle(number, stack))


def fill_in_bulk(particles, n_particles, stack):
    """Fill a set by repeating one particle inside its database, with other ids and poses."""
    _describe(particles)
    particles.append(synthetic_particle(1, stack))
    connection = particles._getMapper().db.connection
    column_of = dict(connection.execute("SELECT label_property, column_name FROM Classes"))
    names = [row[1] for row in connection.execute("PRAGMA table_info(Objects)")]
    first = dict(zip(names, connection.execute("SELECT * FROM Objects").fetchone()))
    random = np.random.default_rng(1)
    ids = np.arange(2, n_particles + 1)
    poses = matrices_2d(
        random.uniform(-180, 180, len(ids)),
        random.uniform(-3, 3, (len(ids), 2)),
        random.random(len(ids)) < 0.5,
    )
    own = ("id", column_of["_index"], column_of["_transform._matrix"])
    others = [name for name in names if name not in own]
    marks = ", ".join("?" * len(names))
    rest = [first[name] for name in others]
    connection.executemany(
        f"INSERT INTO Objects ({', '.join([*own, *others])}) VALUES ({marks})",
        ((number, number, text, *rest) for number, text in zip(ids.tolist(), matrix_texts(poses))),
    )
    connection.commit()
    particles._size.set(n_particles)


def write_results(star_file, n_particles, n_classes, seed=3):
    """A result STAR file as the engine writes it; particle 2 of every 1,000 has no row."""
    random = np.random.default_rng(seed)
    columns = [
        labels.IMAGE_NAME,
        labels.IMAGE_ID,
        labels.OPTICS_GROUP,
        labels.CLASS_NUMBER,
        labels.ANGLE_PSI,
        labels.ORIGIN_X_ANGST,
        labels.ORIGIN_Y_ANGST,
        labels.IS_FLIP,
        labels.FIGURE_OF_MERIT,
    ]
    numbers = random.integers(1, n_classes + 1, n_particles).tolist()
    poses = random.uniform(-1, 1, (n_particles, 4))
    poses *= (180, 4, 4, 1)
    flips = random.integers(0, 2, n_particles).tolist()
    with open(star_file, "w", encoding="utf-8") as out:
        write_loop(out, "optics", [labels.OPTICS_GROUP, labels.IMAGE_PIXEL_SIZE], ["1 1.500000"])
        write_loop(
            out,
            "particles",
            columns,
            (
                f"{row + 1:06d}@stack.mrcs {row + 1} 1 {number} {psi:.6f} {x:.6f} {y:.6f} {flip} "
                f"{score:.6f}"
                for row, (number, (psi, x, y, score), flip) in enumerate(
                    zip(numbers, poses.tolist(), flips)
                )
                if row % 1000 != 1
            ),
        )


def _describe(particles):
    particles.setSamplingRate(PIXEL_SIZE_ANGST)
    particles.setAcquisition(synthetic_acquisition())
    particles.setHasCTF(True)
    particles.setAlignment(ALIGN_2D)
