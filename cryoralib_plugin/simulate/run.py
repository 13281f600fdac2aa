# SPDX-License-Identifier: GPL-3.0-or-later
"""The program ``simulate``: a particle stack, its STAR file and its truth, written in batches."""

from __future__ import annotations

import json
import logging
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from cryoralib_plugin.contract import labels
from cryoralib_plugin.contract._codec import to_json
from cryoralib_plugin.contract.simulate import SimulateConfig
from cryoralib_plugin.io.atomic import write_atomically, write_text_atomically
from cryoralib_plugin.io.mrc import MrcStackWriter, read_mrc, write_stack, write_volume
from cryoralib_plugin.io.star import write_star

from .map_molecule import MapMolecule, map_molecule
from .phantom import density_map
from .scene import Scene, disk_variance, make_scene, render_images, render_signal
from .truth import PARTICLE, Truth, draw_truth
from .view_set import view_images

STACK_NAME = "particles.mrcs"
_PIXELS_PER_BATCH = 1 << 22
_KIND_WORDS = np.array(["particle", "empty", "contamination", "wrong molecule"])
_KIND_COLUMN = "cryoralibImageKind"

logger = logging.getLogger(__name__)


def simulate(config: SimulateConfig) -> Path:
    """Write a simulated particle set and its truth; return its folder.

    particles.mrcs and particles.star (RELION 3.1, optics group and CTF, no poses), truth.star
    (the same rows with poses, view and kind), phantom.mrc (the molecule; its projections have
    the grey scale of the images), second.mrc (a second state), views.mrcs (where views are
    discrete), settings.json (to be given to ``--config``) and summary.json (what came out).

    Memory does not grow with the number of particles but for their table.
    """
    folder = Path(config.files.output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    sample = config.object
    scene = make_scene(config, _read_maps(config))
    tables: list[pd.DataFrame] = []
    signal_variances: list[np.ndarray] = []

    def write_images(path: Path) -> None:
        with MrcStackWriter(path, pixel_size_angst=sample.pixel_size_angst) as stack:
            for ids in _batches(config):
                truth = draw_truth(config, ids)
                signal = render_signal(scene, truth.poses, truth.ctf, truth.molecule)
                stack.append(render_images(scene, truth, signal))
                tables.append(_truth_table(config, truth))
                real = truth.kind == PARTICLE
                signal_variances.append(disk_variance(signal[real], config))
                logger.info("%d of %d particles", ids[-1] + 1, sample.n_particles)

    write_atomically(folder / STACK_NAME, write_images)
    table = pd.concat(tables, ignore_index=True)
    optics = _optics_table(config)
    given = table[_given_columns(config)]
    for name, rows in (("particles.star", given), ("truth.star", table)):
        blocks = {"optics": optics, "particles": rows}
        write_atomically(folder / name, partial(write_star, blocks=blocks))
    _write_maps(folder, scene)
    write_text_atomically(folder / "settings.json", to_json(config))
    summary = _summary(scene, table, np.concatenate(signal_variances))
    write_text_atomically(folder / "summary.json", json.dumps(summary, indent=2) + "\n")
    logger.info(
        "wrote %d particles to %s, mean SNR %.4g", sample.n_particles, folder, summary["mean_snr"]
    )
    return folder


def _read_maps(config: SimulateConfig) -> tuple[MapMolecule, ...]:
    """Return the molecules of the map files that are named."""
    files = config.files
    return tuple(
        map_molecule(*read_mrc(name), config.object.pixel_size_angst)
        for name in (files.map_file, files.second_map_file, files.wrong_map_file)
        if name
    )


def _batches(config: SimulateConfig) -> list[np.ndarray]:
    """Return the particle ids of each batch."""
    n, step = config.object.n_particles, max(1, _PIXELS_PER_BATCH // config.object.box_size_px**2)
    return [np.arange(start, min(start + step, n)) for start in range(0, n, step)]


def _given_columns(config: SimulateConfig) -> list[str]:
    """Return the columns that an experimenter would have."""
    columns = [labels.IMAGE_NAME, labels.MICROGRAPH_NAME, labels.OPTICS_GROUP]
    if config.optics.apply_ctf:
        columns += [
            labels.DEFOCUS_U,
            labels.DEFOCUS_V,
            labels.DEFOCUS_ANGLE,
            labels.PHASE_SHIFT,
        ]
    return columns


def _truth_table(config: SimulateConfig, truth: Truth) -> pd.DataFrame:
    pixel_size = config.object.pixel_size_angst
    is_particle = truth.kind == PARTICLE
    return pd.DataFrame(
        {
            labels.IMAGE_NAME: [f"{i + 1:06d}@{STACK_NAME}" for i in truth.particle_ids],
            labels.MICROGRAPH_NAME: [f"micrograph{i + 1:05d}.mrc" for i in truth.micrograph],
            labels.OPTICS_GROUP: 1,
            labels.DEFOCUS_U: truth.ctf.defocus_u_angst,
            labels.DEFOCUS_V: truth.ctf.defocus_v_angst,
            labels.DEFOCUS_ANGLE: truth.ctf.defocus_angle_deg,
            labels.PHASE_SHIFT: truth.ctf.phase_shift_deg,
            labels.ANGLE_ROT: truth.poses.angles_deg[:, 0],
            labels.ANGLE_TILT: truth.poses.angles_deg[:, 1],
            labels.ANGLE_PSI: truth.poses.angles_deg[:, 2],
            labels.ORIGIN_X_ANGST: truth.poses.shift_px[:, 0] * pixel_size,
            labels.ORIGIN_Y_ANGST: truth.poses.shift_px[:, 1] * pixel_size,
            labels.IS_FLIP: truth.mirror.astype(int),
            # Junk belongs to no class.
            labels.CLASS_NUMBER: np.where(is_particle, truth.view + truth.molecule + 1, 0),
            _KIND_COLUMN: _KIND_WORDS[truth.kind],
        }
    )


def _optics_table(config: SimulateConfig) -> pd.DataFrame:
    optics = config.optics
    row = {
        labels.OPTICS_GROUP_NAME: "opticsGroup1",
        labels.OPTICS_GROUP: 1,
        labels.VOLTAGE: optics.voltage_kv,
        labels.SPHERICAL_ABERRATION: optics.cs_mm,
        labels.AMPLITUDE_CONTRAST: optics.amplitude_contrast,
        labels.IMAGE_PIXEL_SIZE: config.object.pixel_size_angst,
        labels.IMAGE_SIZE: config.object.box_size_px,
        labels.IMAGE_DIMENSIONALITY: 2,
    }
    return pd.DataFrame([row])


def _write_maps(folder: Path, scene: Scene) -> None:
    sample = scene.config.object
    pixel_size = sample.pixel_size_angst
    n_states = 2 if scene.config.files.second_map_file else 1
    states = zip(("phantom.mrc", "second.mrc"), scene.molecules[:n_states])
    for name, molecule in states:
        volume = density_map(molecule, sample.box_size_px, pixel_size)
        volume *= np.float32(scene.signal_scale)

        def write_map(path: Path, volume: np.ndarray = volume) -> None:
            write_volume(path, volume, pixel_size_angst=pixel_size)

        write_atomically(folder / name, write_map)

    def write_views(path: Path) -> None:
        write_stack(path, view_images(scene), pixel_size_angst=pixel_size)

    if scene.config.views.view_choice == "discrete":
        write_atomically(folder / "views.mrcs", write_views)


def _summary(
    scene: Scene, table: pd.DataFrame, signal_variances: np.ndarray
) -> dict[str, float | int]:
    """Return what came out; the SNR is nan where there is nothing but junk."""
    kinds = table[_KIND_COLUMN]
    mean = float(signal_variances.mean()) if signal_variances.size else float("nan")
    return {
        "n_particles": len(table),
        "n_empty": int((kinds == "empty").sum()),
        "n_contamination": int((kinds == "contamination").sum()),
        "n_wrong_molecule": int((kinds == "wrong molecule").sum()),
        "disk_radius_px": scene.config.disk_radius_px,
        "mean_signal_variance": mean,
        "noise_variance": scene.noise_variance,
        "mean_snr": mean / scene.noise_variance,
        "signal_scale": float(scene.signal_scale),
    }
