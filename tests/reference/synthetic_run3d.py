# SPDX-License-Identifier: GPL-3.0-or-later
"""A run directory as a 3D refinement would leave it, drawn at random, for viewers and report."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from cryoralib_plugin.contract.results import FSC_COLUMNS, ResultPaths
from cryoralib_plugin.fourier.fsc import MaskedFsc, masked_fsc
from cryoralib_plugin.fourier.masks3d import soft_sphere
from cryoralib_plugin.io.round_files import Checkpoint3D, RoundFiles

BOX_PX, PIXEL_ANGST = 32, 3.0
STAGES = ("global", "global", "local", "local", "defocus")


@dataclass(frozen=True)
class SyntheticRun3D:
    """What the files of `write_synthetic_run3d` hold, for comparison; classes from the first."""

    paths: ResultPaths
    particles: pd.DataFrame
    halves: np.ndarray
    merged: np.ndarray
    masks: np.ndarray
    curves: tuple[MaskedFsc, ...]
    symmetry: str


def write_synthetic_run3d(
    folder: Path,
    *,
    n_classes: int = 1,
    n_particles: int = 400,
    n_rounds: int = 5,
    symmetry: str = "C1",
) -> SyntheticRun3D:
    """Write a finished run: class k holds twice as many particles as class k + 1; a tenth is junk.

    Half maps agree up to about 12 angstrom. Particles of class 1 see the molecule from the side
    more often than from the top.
    """
    draw = np.random.default_rng(11)
    paths = ResultPaths(folder)
    masks = np.stack([soft_sphere(BOX_PX, 11.0, 3.0)] * n_classes).astype(np.float32)
    halves = np.stack([_halves(draw) for _ in range(n_classes)])
    curves = tuple(
        masked_fsc(*pair, mask, tuple(draw.normal(size=(2, *mask.shape))))
        for pair, mask in zip(halves.astype(float), masks.astype(float))
    )
    run = SyntheticRun3D(
        paths=paths,
        particles=_particles(draw, n_particles, n_classes),
        halves=halves,
        merged=halves.mean(axis=1),
        masks=masks,
        curves=curves,
        symmetry=symmetry,
    )
    files = RoundFiles(paths)
    files.prepare()
    files.write_config(json.dumps({"program": "refine3d", "reference": {"symmetry": symmetry}}))
    for iteration in range(1, n_rounds + 1):
        files.write_round(_checkpoint(run, iteration))
        files.write_metrics(_metrics(run, iteration))
    files.write_quarantine(
        pd.DataFrame({"rlnImageId": [n_particles + 1], "rlnImageName": ["401@a.mrcs"],
                      "reason": ["weights are not finite"]})
    )  # fmt: skip
    files.write_status("finished", iteration=n_rounds, message="The resolution no longer improves.")
    return run


def _halves(draw: np.random.Generator) -> np.ndarray:
    """(2, N, N, N) float32, blobs with noise that takes over at about 12 angstrom."""
    grid = np.stack(np.meshgrid(*[np.arange(BOX_PX) - BOX_PX // 2] * 3, indexing="ij"), axis=-1)
    signal = np.zeros((BOX_PX,) * 3)
    for centre in draw.normal(0, 4.0, (14, 3)):
        signal += np.exp(-((grid - centre) ** 2).sum(axis=-1) / 5.0)
    return (signal + 0.15 * draw.normal(size=(2, *signal.shape))).astype(np.float32)


def _particles(draw: np.random.Generator, n: int, n_classes: int) -> pd.DataFrame:
    share = 2.0 ** -np.arange(n_classes)
    junk = draw.random(n) < 0.1
    factor = 1.0 + draw.normal(0, 0.01, n)
    defocus = draw.uniform(8000, 20000, n) * factor
    return pd.DataFrame(
        {
            "rlnImageName": [f"{i:06d}@stack.mrcs" for i in range(1, n + 1)],
            "rlnImageId": np.arange(1, n + 1),
            "rlnOpticsGroup": 1,
            "rlnClassNumber": draw.choice(np.arange(1, n_classes + 1), n, p=share / share.sum()),
            "rlnAngleRot": draw.uniform(-180, 180, n),
            "rlnAngleTilt": np.rad2deg(np.arccos(np.clip(draw.normal(0, 0.45, n), -1, 1))),
            "rlnAnglePsi": draw.uniform(-180, 180, n),
            "rlnOriginXAngst": PIXEL_ANGST * draw.normal(0, 1.5, n),
            "rlnOriginYAngst": PIXEL_ANGST * draw.normal(0, 1.5, n),
            "rlnRandomSubset": 1 + np.arange(n) % 2,
            "rlnDefocusU": defocus + 100,
            "rlnDefocusV": defocus - 100,
            "rlnParticleFigureOfMerit": np.where(junk, draw.normal(0.15, 0.1, n),
                                                 draw.normal(1.0, 0.15, n)),
            "rlnMaxValueProbDistribution": draw.uniform(1 / n_classes, 1, n),
            "rlnLogLikeliContribution": draw.normal(1000, 30, n),
            "cryoralibAngularStdDeg": draw.gamma(9, 0.15, n) * np.where(junk, 4, 1),
            "cryoralibShiftStdPx": draw.gamma(9, 0.03, n) * np.where(junk, 3, 1),
            "cryoralibDefocusFactor": factor,
            "cryoralibDefocusStd": 0.004,
            "cryoralibWeight": np.where(junk, draw.normal(0.5, 0.1, n), draw.normal(1, 0.1, n)),
        }
    )  # fmt: skip


def _checkpoint(run: SyntheticRun3D, iteration: int) -> Checkpoint3D:
    return Checkpoint3D(
        iteration=iteration,
        pixel_size_angst=PIXEL_ANGST,
        blocks={"optics": _optics(), "particles": run.particles},
        unfiltered_halves=run.halves,
        merged=run.merged,
        masks=run.masks,
        fsc=pd.concat([_fsc(number, curve) for number, curve in enumerate(run.curves, start=1)]),
        noise=pd.DataFrame({"half": [1], "group": [1], "shell": [0], "noise_power": [1.0]}),
        model=_model(run, iteration),
    )


def _optics() -> pd.DataFrame:
    return pd.DataFrame(
        {"rlnOpticsGroup": [1], "rlnOpticsGroupName": ["opticsGroup1"],
         "rlnImagePixelSize": [PIXEL_ANGST], "rlnImageSize": [BOX_PX],
         "rlnImageDimensionality": [2]}
    )  # fmt: skip


def _fsc(number: int, curve: MaskedFsc) -> pd.DataFrame:
    shell = np.arange(BOX_PX // 2 + 1)
    with np.errstate(divide="ignore"):
        resolution = BOX_PX * PIXEL_ANGST / shell
    columns = (np.full(len(shell), number), shell, resolution, curve.unmasked, curve.masked,
               curve.randomised, curve.corrected, curve.corrected)  # fmt: skip
    return pd.DataFrame(dict(zip(FSC_COLUMNS, columns)))


def _cutoff_px(iteration: int) -> int:
    return min(4 + 2 * iteration, 12)


def _model(run: SyntheticRun3D, iteration: int) -> dict:
    number = run.particles["rlnClassNumber"]
    counts = [int((number == k).sum()) for k in range(1, len(run.merged) + 1)]
    return {
        "iteration": iteration,
        "program": "refine3d",
        "stage": STAGES[(iteration - 1) % len(STAGES)],
        "cutoff_px": _cutoff_px(iteration),
        "box_size_px": BOX_PX,
        "pixel_size_angst": PIXEL_ANGST,
        "symmetry": run.symmetry,
        "n_particles": len(run.particles),
        "classes": [
            {
                "class": k,
                "share": count / len(run.particles),
                "n_particles": count,
                "resolution_angst": 11.0 + k / 2,
                "resolution_unmasked_angst": 13.0 + k / 2,
            }
            for k, count in enumerate(counts, start=1)
        ],
    }


def _metrics(run: SyntheticRun3D, iteration: int) -> dict:
    shares = {
        f"class_share_{row['class']:03d}": row["share"] for row in _model(run, iteration)["classes"]
    }
    return {
        "iteration": iteration,
        "stage": STAGES[(iteration - 1) % len(STAGES)],
        "cutoff_px": _cutoff_px(iteration),
        "cutoff_angst": BOX_PX * PIXEL_ANGST / _cutoff_px(iteration),
        "resolution_angst": 11.5 + 12 / iteration**2,
        "resolution_unmasked_angst": 13.5 + 12 / iteration**2,
        "median_angular_std_deg": 8.0 / iteration,
        "median_shift_std_px": 1.0 / iteration,
        "median_rotation_change_deg": np.nan if iteration == 1 else 10.0 / iteration**2,
        "median_score": 1.0 - 0.3 / iteration,
        "mean_phases": 12.0 if iteration < 3 else 4.0,
        **shares,
        "seconds_expectation": 10.0,
        "seconds_maximization": 2.0,
    }
