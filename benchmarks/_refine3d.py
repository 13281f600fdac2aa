# SPDX-License-Identifier: GPL-3.0-or-later
"""What the benchmarks of the 3D refinement share: sets, runs, poses, maps and verdicts."""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, List, Optional, Tuple

import numpy as np
import pandas as pd

from benchmarks._cramer_rao import Truth3D
from cryoralib_plugin.contract.results import ResultPaths
from cryoralib_plugin.fourier.band import FourierBand, band_spectra, shift_phases
from cryoralib_plugin.fourier.fsc import fsc, last_shell_above
from cryoralib_plugin.fourier.maps import backward_centred, forward_centred
from cryoralib_plugin.fourier.reconstruction import even_weights, floored, reconstruct
from cryoralib_plugin.fourier.volume import FourierVolume
from cryoralib_plugin.geometry.map_symmetry import turn_map
from cryoralib_plugin.geometry.rotations import (
    angle_between,
    conjugate,
    from_euler,
    multiply,
    to_matrices,
)
from cryoralib_plugin.geometry.symmetry import nearest_mates, symmetry_operators
from cryoralib_plugin.io.mrc import read_mrc
from cryoralib_plugin.io.star import read_star
from cryoralib_plugin.kernels.backproject import SliceSums, Views, backproject, completed
from cryoralib_plugin.kernels.device import CpuDevice
from cryoralib_plugin.optics.ctf import CtfParameters, ctf_in_band

REPOSITORY = Path(__file__).resolve().parents[1]
DATA = REPOSITORY.parent / "shared" / "data"
RELIONS_FLOOR = 1e-3


def arguments(description: str) -> argparse.ArgumentParser:
    """Return a parser with what all the scripts take."""
    parser = argparse.ArgumentParser(description=description.split("\n")[0])
    parser.add_argument("--output", type=Path, help="folder of the runs; kept if it is named")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--ranks", type=int, default=0, help="start under mpirun")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", type=_setting)
    return parser


def folder_of(given: argparse.Namespace) -> Path:
    """Return the folder for runs, a temporary one unless it is named."""
    folder = given.output or Path(tempfile.mkdtemp(prefix="cryoralib_refine3d_"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder.resolve()


def _setting(text: str) -> Tuple[str, str]:
    name, value = text.split("=", 1)
    return name, value


@dataclass(frozen=True)
class Took:
    """Time of a program: by the clock, and of all its processors together."""

    seconds: float
    cpu_seconds: float


def program(name: str, *, ranks: int = 0, threads: int = 2, **settings: Any) -> Took:
    """Run a program of the package with parameters by name; return its time."""
    words = [sys.executable, "-m", "cryoralib_plugin", name]
    if ranks:
        beside = Path(sys.executable).parent / "mpirun"
        launcher = str(beside) if beside.is_file() else "mpirun"
        words = [launcher, "-n", str(ranks), sys.executable, "-m", "mpi4py", *words[1:]]
    for key, value in settings.items():
        flag = key.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            words += [f"--{flag}", str(value)]
    paths = [str(REPOSITORY), os.environ.get("PYTHONPATH", "")]
    environment = {
        **os.environ,
        "NUMBA_NUM_THREADS": str(threads),
        "OMP_NUM_THREADS": str(threads),
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
    }
    start, cpu_start = time.perf_counter(), _cpu_seconds()
    ended = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    took = Took(time.perf_counter() - start, _cpu_seconds() - cpu_start)
    if ended.returncode:
        raise RuntimeError(f"{' '.join(words)}\n{ended.stdout[-2000:]}\n{ended.stderr[-4000:]}")
    return took


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@dataclass(frozen=True)
class Run:
    """A finished refinement."""

    paths: ResultPaths
    took: Took

    @property
    def last(self) -> int:
        """Its last round."""
        return int(self.paths.last_iteration() or 0)

    @property
    def metrics(self) -> pd.DataFrame:
        """One row a round."""
        return pd.read_csv(self.paths.metrics_csv)

    def halves(self, class_number: int = 1) -> Tuple[np.ndarray, np.ndarray]:
        """The unfiltered half maps of a class."""
        names = (self.paths.unfiltered_half_mrc(self.last, half, class_number) for half in (1, 2))
        first, second = (read_mrc(name)[0] for name in names)
        return first, second

    def particles(self, iteration: Optional[int] = None) -> pd.DataFrame:
        """The particles after a round, the last by default."""
        return particles_of(self.paths.data_star(iteration or self.last))

    def noise_power(self) -> np.ndarray:
        """The mean noise power by shell, what files and groups say of it together."""
        table = pd.read_csv(self.paths.noise_csv(self.last))
        return table.groupby("shell")["noise_power"].mean().to_numpy()


def refine(folder: Path, given: argparse.Namespace, **settings: Any) -> Run:
    """Refine into a folder, or take what is there finished; --set has the last word."""
    paths = ResultPaths(folder)
    settings = {**settings, **dict(given.set), "output_dir": folder}
    if paths.status_json.is_file() and paths.last_iteration():
        return Run(paths, Took(float("nan"), float("nan")))
    return Run(paths, program("refine3d", ranks=given.ranks, threads=given.threads, **settings))


def with_true_map(
    folder: Path, given: argparse.Namespace, truth_star: Path, true_map: Path, **settings: Any
) -> Run:
    """Refine one local round from the true poses and the true map: the best the engine can do.

    ``initial_resolution_angst`` is the cut-off.
    """
    cutoff = settings["initial_resolution_angst"]
    return refine(
        folder, given, particles_file=truth_star, reference_file=true_map, global_search=False,
        start_from_poses=True, maximum_rounds=1, highest_resolution_angst=cutoff, **settings,
    )  # fmt: skip


def simulated(folder: Path, **settings: Any) -> Path:
    """Simulate into a folder unless it is there; white noise and nothing but particles."""
    plain = {"noise_rise": 1, "ramp_max": 0, "intensity_variation": 0, "junk_fraction": 0}
    if not (folder / "summary.json").is_file():
        program("simulate", output_dir=folder, **{**plain, **settings})
    return folder


def particles_of(star: Path) -> pd.DataFrame:
    """Return the rows of a STAR file of one stack with their optics, by image, from 0."""
    blocks = read_star(star)
    rows = blocks["particles"]
    if "optics" in blocks:
        rows = rows.merge(blocks["optics"], on="rlnOpticsGroup", how="left")
    # Runs write paths of their own, in an order of their own; the number in the stack stays.
    numbers = [int(name.split("@")[0]) - 1 for name in rows["rlnImageName"]]
    return rows.set_index(pd.Index(numbers, name="image")).sort_index()


def poses_of(rows: pd.DataFrame) -> Truth3D:
    """Return the poses and optics of particles."""
    pixel = rows["rlnImagePixelSize"].to_numpy(float)[:, None]
    angles = rows[["rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"]].to_numpy(float)
    shift = rows[["rlnOriginXAngst", "rlnOriginYAngst"]].to_numpy(float) / pixel
    phase = rows.get("rlnPhaseShift", pd.Series(0.0, rows.index))
    columns = [rows[f"rlnDefocus{end}"] for end in ("U", "V", "Angle")]
    columns += [rows["rlnVoltage"], rows["rlnSphericalAberration"], rows["rlnAmplitudeContrast"]]
    optics = CtfParameters(*(np.asarray(column, dtype=float) for column in [*columns, phase]))
    return Truth3D(from_euler(*angles.T), shift, optics)


@dataclass(frozen=True)
class Errors:
    """How far found poses are from true ones, (n,) degrees and pixels."""

    angle_deg: np.ndarray
    shift_px: np.ndarray

    @property
    def within_10(self) -> float:
        """Share of the angles within 10 degrees."""
        return float((self.angle_deg < 10).mean())

    def __str__(self) -> str:
        return (
            f"median {np.median(self.angle_deg):.3f} deg, {np.median(self.shift_px):.3f} px, "
            f"{self.within_10:.3f} within 10 deg"
        )


@dataclass(frozen=True)
class Gauge:
    """The motion of a whole map that no image tells of: poses turned by ``rotation`` (4,) and
    moved by ``shift_px`` (3,), V'(x) = V(G^T (x - s))."""

    rotation: np.ndarray
    shift_px: np.ndarray

    def moved(self, volume: np.ndarray) -> np.ndarray:
        """Return the true map where the found one stands."""
        turned = turn_map(volume.astype(np.float32), conjugate(self.rotation), order=5)
        box = len(volume)
        k = np.fft.fftfreq(box)
        x, y, z = self.shift_px
        turns = k[:, None, None] * z + k[:, None] * y + np.fft.rfftfreq(box) * x
        return backward_centred(forward_centred(turned) * np.exp(-2j * np.pi * turns), box)


def gauge_of(found: Truth3D, truth: Truth3D, symmetry: str = "C1") -> Gauge:
    """Return the motion between found and true poses, from those that are nearly right."""
    operators = symmetry_operators(symmetry)
    right = angle_between(found.rotations, truth.rotations, operators) < 10.0
    mates = nearest_mates(truth.rotations[right], found.rotations[right], operators)
    steps = multiply(found.rotations[right], conjugate(mates))
    _, axes = np.linalg.eigh(steps.T @ steps)
    planar = to_matrices(found.rotations[right])[:, :, :2].transpose(0, 2, 1).reshape(-1, 3)
    apart = (found.shift_px - truth.shift_px)[right].reshape(-1)
    keep = np.abs(apart) < 3.0
    shift = np.linalg.lstsq(planar[keep], apart[keep], rcond=None)[0]
    return Gauge(axes[:, -1], shift)


def errors(
    found: Truth3D, truth: Truth3D, symmetry: str = "C1", gauge: Optional[Gauge] = None
) -> Errors:
    """Return the errors of poses, free of the motion of the whole map where it is given."""
    operators, rotations, shift = symmetry_operators(symmetry), truth.rotations, truth.shift_px
    if gauge is not None:
        mates = nearest_mates(rotations, multiply(conjugate(gauge.rotation), found.rotations),
                              operators)  # fmt: skip
        rotations = multiply(gauge.rotation, mates)
        shift = shift + (gauge.shift_px @ to_matrices(rotations))[:, :2]
        operators = operators[:1]
    angle = angle_between(found.rotations, rotations, operators)
    return Errors(angle, np.linalg.norm(found.shift_px - shift, axis=1))


def shell_mask(box: int, pixel: float, inner: float, outer: float, edge: float) -> np.ndarray:
    """Return a soft shell between two radii, all in Angstrom, (N, N, N) float32."""
    z, y, x = np.indices((box,) * 3) - box // 2
    radius = np.sqrt(x**2 + y**2 + z**2) * pixel
    beyond = np.maximum(inner - radius, radius - outer) / edge
    return (0.5 + 0.5 * np.cos(np.pi * np.clip(beyond, 0.0, 1.0))).astype(np.float32)


def inserted(
    images: np.ndarray, poses: Truth3D, pixel: float, radius: int, symmetry: str = "C1"
) -> Tuple[FourierVolume, np.ndarray]:
    """Return sums of images at given poses, and their weights."""
    band = FourierBand.between(images.shape[-1], 0, radius)
    spectra, transfer = band_spectra(images, band), ctf_in_band(poses.ctf, band, pixel)
    centred = spectra * transfer * shift_phases(poses.shift_px, band).conj()
    sums = SliceSums.zeros(band, CpuDevice(), data_magnitude=float(np.abs(spectra).mean()))
    n = len(images)
    views = Views(to_matrices(poses.rotations), np.arange(n), np.ones(n, np.float32))
    operators = to_matrices(symmetry_operators(symmetry))
    backproject(sums, centred, transfer**2, views, band, symmetry=operators)
    data, weights = completed(sums)
    return data, floored(weights, data.padding, RELIONS_FLOOR)


def reconstructed(
    images: np.ndarray, poses: Truth3D, pixel: float, radius: int, symmetry: str = "C1"
) -> np.ndarray:
    """Return the mean of the unfiltered halves, even and odd images, at given poses."""
    halves = [
        inserted(images[rows], poses[rows], pixel, radius, symmetry)
        for rows in (slice(0, None, 2), slice(1, None, 2))
    ]
    curve = fsc(*(reconstruct(*half) for half in halves))
    maps = [reconstruct(data, even_weights(w, data.padding, curve)) for data, w in halves]
    return 0.5 * (maps[0] + maps[1])


def shell_to_truth(volume: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> int:
    """Return the last shell at which a map's correlation with the truth is one half or more."""
    return last_shell_above(fsc(volume, truth, mask), 0.5)


@dataclass
class Verdicts:
    """Figures against their bounds, printed as they come."""

    rows: List[dict] = field(default_factory=list)

    def say(self, what: str, value: Any, bound: str = "", kept: Optional[bool] = None) -> None:
        """Print one figure; without a bound it is only reported."""
        shown = f"{value:.4g}" if isinstance(value, float) else str(value)
        verdict = "" if kept is None else ("kept" if kept else "MISSED")
        print(f"{what:<58} {shown:>12}  {bound:<16} {verdict}", flush=True)
        self.rows.append({"what": what, "value": value, "bound": bound, "kept": kept})

    def below(self, what: str, value: float, bound: float) -> None:
        """Print a figure that must not be above its bound."""
        self.say(what, float(value), f"<= {bound:g}", bool(value <= bound))

    def time(self, run: Run, bound: float) -> None:
        """Print what a run took; on a busy machine the processors' time is the one to look at."""
        self.say("seconds by the clock", run.took.seconds, f"<= {bound:g}",
                 None if np.isnan(run.took.seconds) else run.took.seconds <= bound)  # fmt: skip
        self.say("    of both processors, halved", run.took.cpu_seconds / 2)

    def above(self, what: str, value: float, bound: float) -> None:
        """Print a figure that must not be below its bound."""
        self.say(what, float(value), f">= {bound:g}", bool(value >= bound))

    def end(self, folder: Path) -> int:
        """Keep the figures beside the runs; return the exit code."""
        text = json.dumps(self.rows, indent=1, default=str)
        (folder / "figures.json").write_text(text, encoding="utf-8")
        print(f"figures and runs: {folder}")
        return 0 if all(row["kept"] is not False for row in self.rows) else 1
