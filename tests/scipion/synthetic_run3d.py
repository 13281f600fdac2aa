# SPDX-License-Identifier: GPL-3.0-or-later
"""The directory of a 3D run as the engine leaves it, drawn from random numbers."""

from __future__ import annotations

import json
from pathlib import Path

import mrcfile
import numpy as np

from cryoralib_plugin.contract import labels
from cryoralib_plugin.contract.results import (
    FSC_COLUMNS,
    METRICS3D_COLUMNS,
    ResultPaths,
    class_share_column,
)
from cryoralib_plugin.scipion.star import write_loop

SYMMETRY = "C1"
SET_ASIDE = 5
"""The object id of the particle that the run set aside."""

_STAGES = ("global", "global", "local")
_CUTOFFS_PX = (4, 6, 9)
_COLUMNS = (
    labels.IMAGE_NAME,
    labels.IMAGE_ID,
    labels.OPTICS_GROUP,
    labels.CLASS_NUMBER,
    labels.RANDOM_SUBSET,
    labels.ANGLE_ROT,
    labels.ANGLE_TILT,
    labels.ANGLE_PSI,
    labels.ORIGIN_X_ANGST,
    labels.ORIGIN_Y_ANGST,
    labels.DEFOCUS_U,
    labels.DEFOCUS_V,
    labels.FIGURE_OF_MERIT,
    labels.MAX_PROBABILITY,
    labels.LOG_LIKELIHOOD,
    labels.ANGULAR_STD,
    labels.SHIFT_STD,
    labels.DEFOCUS_FACTOR,
    labels.DEFOCUS_STD,
    labels.WEIGHT,
)


def write_run3d(run_dir, n_particles, *, n_classes=1, box=32, pixel_size_angst=1.5, seed=4):
    """Write three rounds of a run; the columns of the last particle table by name."""
    paths = ResultPaths(run_dir)
    Path(run_dir).mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    shares = random.dirichlet(np.full(n_classes, 20.0))
    for number, (stage, cutoff) in enumerate(zip(_STAGES, _CUTOFFS_PX), start=1):
        columns = _write_table(paths.data_star(number), n_particles, n_classes, random)
        _write_maps(paths, number, n_classes, box, pixel_size_angst, random)
        _write_fsc(paths.fsc_csv(number), n_classes, box, pixel_size_angst, cutoff)
        model = {
            "iteration": number,
            "program": "refine3d",
            "stage": stage,
            "cutoff_px": cutoff,
            "box_size_px": box,
            "pixel_size_angst": pixel_size_angst,
            "symmetry": SYMMETRY,
            "n_particles": n_particles - 1,
            "classes": [
                {
                    "class": k + 1,
                    "share": shares[k],
                    "n_particles": int((columns[labels.CLASS_NUMBER] == k + 1).sum()),
                    "resolution_angst": box * pixel_size_angst / (cutoff + k),
                    "resolution_unmasked_angst": None,
                }
                for k in range(n_classes)
            ],
        }
        paths.model_json(number).write_text(json.dumps(model))
        paths.manifest_json(number).write_text(json.dumps({"files": {}}))
    _write_metrics(paths.metrics_csv, shares, box * pixel_size_angst)
    paths.quarantine_csv.write_text(
        "rlnImageId,rlnImageName,reason\n"
        f"{SET_ASIDE},000005@stack.mrcs,its weights are not finite numbers\n"
    )
    paths.status_json.write_text(json.dumps({"state": "finished", "iteration": len(_STAGES)}))
    return columns


def _write_table(path, n_particles, n_classes, random):
    ids = np.arange(1, n_particles + 1)
    defocus_factor = random.normal(1.0, 0.01, n_particles)
    columns = {
        labels.IMAGE_ID: ids,
        labels.CLASS_NUMBER: np.where(
            ids == SET_ASIDE, 0, random.integers(1, n_classes + 1, n_particles)
        ),
        labels.RANDOM_SUBSET: 1 + ids % 2,
        labels.ANGLE_ROT: random.uniform(-180, 180, n_particles),
        labels.ANGLE_TILT: np.rad2deg(np.arccos(random.uniform(-1, 1, n_particles))),
        labels.ANGLE_PSI: random.uniform(-180, 180, n_particles),
        labels.ORIGIN_X_ANGST: random.normal(0, 4, n_particles),
        labels.ORIGIN_Y_ANGST: random.normal(0, 4, n_particles),
        labels.DEFOCUS_U: 15000 * defocus_factor,
        labels.DEFOCUS_V: 14000 * defocus_factor,
        labels.FIGURE_OF_MERIT: random.normal(1.0, 0.1, n_particles),
        labels.MAX_PROBABILITY: random.uniform(0.5, 1, n_particles),
        labels.LOG_LIKELIHOOD: random.normal(-500, 20, n_particles),
        labels.ANGULAR_STD: random.gamma(4, 0.5, n_particles),
        labels.SHIFT_STD: random.gamma(4, 0.1, n_particles),
        labels.DEFOCUS_FACTOR: defocus_factor,
        labels.DEFOCUS_STD: random.gamma(4, 0.001, n_particles),
        labels.WEIGHT: random.uniform(0.1, 3, n_particles),
    }
    whole = {labels.IMAGE_ID, labels.CLASS_NUMBER, labels.RANDOM_SUBSET}
    with open(path, "w", encoding="utf-8") as out:
        write_loop(out, "optics", [labels.OPTICS_GROUP, labels.IMAGE_PIXEL_SIZE], ["1 1.500000"])
        rows = (
            " ".join(
                f"{row + 1:06d}@stack.mrcs"
                if name == labels.IMAGE_NAME
                else "1"
                if name == labels.OPTICS_GROUP
                else f"{columns[name][row]:d}"
                if name in whole
                else f"{columns[name][row]:.9f}"
                for name in _COLUMNS
            )
            for row in range(n_particles)
        )
        write_loop(out, "particles", _COLUMNS, rows)
    return columns


def _write_maps(paths, number, n_classes, box, pixel_size_angst, random):
    for k in range(1, n_classes + 1):
        names = [paths.merged_mrc(number, k), paths.masked_mrc(number, k)]
        names.append(paths.mask_mrc(number, k))
        for half in (1, 2):
            names.append(paths.unfiltered_half_mrc(number, half, k))
            names.append(paths.reference_mrc(number, half, k))
        for name in names:
            with mrcfile.new(name, overwrite=True) as file:
                file.set_data(random.uniform(0, 1, (box, box, box)).astype("f4"))
                file.set_volume()
                file.voxel_size = pixel_size_angst


def _write_fsc(path, n_classes, box, pixel_size_angst, cutoff):
    lines = [",".join(FSC_COLUMNS)]
    for k in range(1, n_classes + 1):
        for shell in range(box // 2 + 1):
            fsc = 1 / (1 + np.exp((shell - cutoff - k) / 1.5))
            resolution = f"{box * pixel_size_angst / shell:.6f}" if shell else ""
            lines.append(f"{k},{shell},{resolution},{0.9 * fsc:.6f},{fsc:.6f},,{fsc:.6f},{fsc:.6f}")
    path.write_text("\n".join(lines) + "\n")


def _write_metrics(path, shares, length_angst):
    names = [*METRICS3D_COLUMNS, *(class_share_column(k + 1) for k in range(len(shares)))]
    lines = [",".join(names)]
    for number, (stage, cutoff) in enumerate(zip(_STAGES, _CUTOFFS_PX), start=1):
        angst = length_angst / cutoff
        values = [number, stage, cutoff, angst, angst, angst + 1, 4.0 / number, 0.3, "", 1.0, 5.5]
        lines.append(",".join(map(str, [*values, *shares])))
    path.write_text("\n".join(lines) + "\n")
