# SPDX-License-Identifier: GPL-3.0-or-later
"""A run directory as an MRA run would leave it, made of drawn numbers, for viewers and report."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from cryoralib_plugin.contract.results import ResultPaths
from cryoralib_plugin.io.run_files import Checkpoint, RunFiles


@dataclass(frozen=True)
class SyntheticRun:
    """What the files of `write_synthetic_run` hold, for comparison."""

    paths: ResultPaths
    averages: np.ndarray
    particles: pd.DataFrame
    members: np.ndarray
    pixel_size_angst: float = 2.0
    box_size_px: int = 32


def write_synthetic_run(
    folder: Path, *, n_classes: int = 6, n_particles: int = 600, n_iterations: int = 3
) -> SyntheticRun:
    """Write a finished run; the last class is dead and has no members."""
    draw = np.random.default_rng(7)
    run = SyntheticRun(ResultPaths(folder), *_draw(draw, n_classes, n_particles))
    files = RunFiles(run.paths)
    files.prepare()
    files.write_config(
        json.dumps(
            {
                "version": "1.0.0",
                "search": {
                    "shift_range_px": "4 3",
                    "shift_range_y_px": "",
                    "shift_step_px": "1",
                    "n_classes": n_classes,
                },
            }
        )
    )
    for iteration in range(1, n_iterations + 1):
        noise = draw.normal(0, 1.0 / iteration, run.averages.shape)
        images = (run.averages + noise).astype(np.float32)
        if iteration == n_iterations:
            images = run.averages
        files.write_iteration(
            Checkpoint(
                iteration=iteration,
                pixel_size_angst=run.pixel_size_angst,
                blocks={"optics": _optics(run), "particles": run.particles},
                averages=images,
                half_averages=np.stack([images, images], axis=1),
                frc=_frc(run),
                model=_model(run, iteration),
            )
        )
        files.write_metrics(_metrics_row(iteration, n_classes))
    files.write_quarantine(
        pd.DataFrame(
            {
                "rlnImageId": [601, 602],
                "rlnImageName": ["000601@a.mrcs", "000602@a.mrcs"],
                "reason": ["constant <image>", "not finite"],
            }
        )
    )
    files.write_status("finished", iteration=n_iterations, message="All done & well.")
    return run


def _draw(
    draw: np.random.Generator, n_classes: int, n_particles: int
) -> tuple[np.ndarray, pd.DataFrame, np.ndarray]:
    row, column = np.mgrid[:32, :32]
    averages = np.zeros((n_classes, 32, 32), np.float32)
    for average in averages:
        for y, x in draw.normal(16, 4, (4, 2)):
            average += np.exp(-((row - y) ** 2 + (column - x) ** 2) / 8)
    number = draw.integers(1, n_classes, n_particles)
    members = np.bincount(number, minlength=n_classes + 1)[1:]
    frame = pd.DataFrame(
        {
            "rlnImageName": [f"{i:06d}@stack.mrcs" for i in range(1, n_particles + 1)],
            "rlnImageId": np.arange(1, n_particles + 1),
            "rlnOpticsGroup": 1,
            "rlnClassNumber": number,
            "rlnAnglePsi": draw.uniform(-180, 180, n_particles),
            "rlnOriginXAngst": 2.0 * draw.normal(0, 1.0, n_particles),
            "rlnOriginYAngst": 2.0 * draw.normal(0, 1.5, n_particles),
            "rlnIsFlip": draw.integers(0, 2, n_particles),
            "rlnRandomSubset": 1 + np.arange(n_particles) % 2,
            "rlnParticleFigureOfMerit": draw.normal(100, 10, n_particles),
        }
    )
    return averages, frame, members


def _optics(run: SyntheticRun) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "rlnOpticsGroup": [1],
            "rlnOpticsGroupName": ["opticsGroup1"],
            "rlnImagePixelSize": [run.pixel_size_angst],
            "rlnImageSize": [run.box_size_px],
            "rlnImageDimensionality": [2],
        }
    )


def _frc(run: SyntheticRun) -> pd.DataFrame:
    ring = np.arange(1, 17)
    frequency = ring / run.box_size_px
    parts = [
        pd.DataFrame(
            {
                "class": number,
                "ring": ring,
                "frequency_per_px": frequency,
                "resolution_angst": run.pixel_size_angst / frequency,
                "frc": np.clip(1.4 - 3 * frequency - 0.02 * number, 0, 1),
            }
        )
        for number in range(1, len(run.averages))
    ]
    return pd.concat(parts)


def _model(run: SyntheticRun, iteration: int) -> dict:
    dead = len(run.averages)
    return {
        "iteration": iteration,
        "program": "mra",
        "box_size_px": run.box_size_px,
        "pixel_size_angst": run.pixel_size_angst,
        "outer_radius_px": 12,
        "classes": [
            {
                "class": number,
                "n_members": int(run.members[number - 1]),
                "n_half1": int(run.members[number - 1]) // 2,
                "n_half2": int(run.members[number - 1]) - int(run.members[number - 1]) // 2,
                "resolution_angst": np.nan if number == dead else 8.0 + number,
                "mean_score": np.nan if number == dead else 100.0 - number,
                "alive": number != dead,
            }
            for number in range(1, dead + 1)
        ],
    }


def _metrics_row(iteration: int, n_classes: int) -> dict:
    return {
        "iteration": iteration,
        "effective_classes": n_classes - 1 - 1 / iteration,
        "dead_classes": 1,
        "median_class_size": 100,
        "mean_score": 100 - 10 / iteration,
        "pixel_error_px": np.nan if iteration == 1 else 2 / iteration,
        "changed_fraction": np.nan if iteration == 1 else 0.5 / iteration,
        "mirror_consistency": np.nan if iteration == 1 else 0.9,
        "resolution_best_angst": 9 + 1 / iteration,
        "seconds_read": 0.5,
        "seconds_match": 3.0,
        "seconds_average": 0.25,
    }
