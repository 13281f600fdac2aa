# SPDX-License-Identifier: GPL-3.0-or-later
"""A first map from the particles alone: random orientations, annealed.

Stochastic expectation maximization (the idea of Punjani et al., Nat. Methods 14, 290 (2017), who
descend a gradient instead): a small random part of the particles is compared with the map at hand,
over all rotations, and enters sums that slowly forget what was added earlier, when the map was
worse. The cut-off grows from where a particle is a blob with a few lobes to where its rotations are
told apart. Noise is taken for as strong as the particles' whole power at first, and for what it is
in the end, so that early poses are uncertain.

The hand of the result is a matter of chance, and so is its turn about the origin; symmetry is built
in, its axes are RELION's. Particles that are nearly round, or that show few views, may give a wrong
map: compare runs of several seeds.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Any, Tuple

import numpy as np

from cryoralib_plugin.arrays import namespace_of
from cryoralib_plugin.fourier.band import FourierBand, shift_phases
from cryoralib_plugin.fourier.reconstruction import divided, floored
from cryoralib_plugin.fourier.shells import grid_shells
from cryoralib_plugin.fourier.volume import FourierVolume, fourier_volume, map_of
from cryoralib_plugin.geometry.rotations import normalise, to_matrices
from cryoralib_plugin.geometry.so3_grid import scan_size
from cryoralib_plugin.kernels.backproject import SliceSums, Views, backproject, completed
from cryoralib_plugin.kernels.random import uniform
from cryoralib_plugin.kernels.score.scan import start_scan, update_scan
from cryoralib_plugin.optics.ctf import ctf_in_band

from .global_search import ScanSet, make_scan_set
from .image_power import ImagePower, background_power
from .local_search import Search, shift_prior
from .masking import sphere_of_particle
from .particle_data import ParticleData, particle_data
from .resample import weights_of
from .task import Task

logger = logging.getLogger(__name__)

N_STEPS = 40
FEATURES = (3.5, 7.0)
"""Cut-off of the first and last steps in waves across the particle: D r / N."""

_BATCH_RANGE = (200, 1000)
_BATCH_SHARE = 0.15
"""Particles of a step, as a share of all and in numbers."""

_MEMORY = 0.75
"""Share of the sums that a step leaves."""

_N_KEPT = 24
"""Rotations at which a particle enters."""

_COARSER = 1.4
"""The scan is made for a cut-off so much lower, and for half as many shifts: lobes are enough."""

_CHOICE, _FIRST_ROTATIONS = 250, 251
_LEAST_SIGNAL = 1e-3


@dataclass(frozen=True)
class Anneal:
    """One step.

    Attributes
    ----------
    number : from 0.
    cutoff_px : exclusive.
    noise_power, signal_power : (N // 2 + 1,) float64
        Of a real or imaginary part, of images and of slices of the map.
    share : of the particles that take part.
    """

    number: int
    cutoff_px: int
    noise_power: np.ndarray
    signal_power: np.ndarray
    share: float


def ab_initio_map(task: Task, sums: ImagePower) -> np.ndarray:
    """Return a map (N, N, N) float32 on the scale of the particles. Every rank must call this.

    Parameters
    ----------
    task : particles of this rank.
    sums : power of the images of all ranks.
    """
    box = task.box_size_px
    diameter_px = task.diameter_angst / task.pixel_size_angst
    sphere = sphere_of_particle(task.config.mask, box, diameter_px)
    values: Any = 0.0
    weights: Any = 0.0
    volume = np.zeros((box,) * 3, np.float32)
    logger.info("no initial map is given: one is made from the particles in %d steps", N_STEPS)
    last = _cutoffs(task)[-1]
    for step in _steps(task, sums):
        data, weight = completed(task.comm.sum(_summed(task, step, volume, last)))
        values = _MEMORY * values + (1.0 - _MEMORY) * data.values
        weights = _MEMORY * weights + (1.0 - _MEMORY) * weight
        # The sums stand for a step; what they remember is worth several.
        worth = (1.0 + _MEMORY) / (1.0 - _MEMORY)
        volume = _map(
            FourierVolume(values * worth, box, data.padding, data.max_radius_px),
            weights * worth, step, task.config.reconstruction.weight_floor,
        ) * sphere  # fmt: skip
    return volume


def _cutoffs(task: Task) -> np.ndarray:
    """Return the cut-offs of the steps, (n_steps,) int64, px."""
    diameter_px = task.diameter_angst / task.pixel_size_angst
    low, high = (waves * task.box_size_px / diameter_px for waves in FEATURES)
    # It rests at the last one for the last fifth.
    progress = np.minimum(np.arange(N_STEPS) / (0.8 * N_STEPS), 1.0)
    lowest = task.limits.lowest_px + 3
    wanted = np.rint(low + (high - low) * progress).astype(np.int64)
    return np.clip(wanted, lowest, task.limits.last_px)


def _steps(task: Task, sums: ImagePower) -> Tuple[Anneal, ...]:
    box, n = task.box_size_px, len(task.table)
    total = sums.total_power().mean(axis=0)
    shells = np.arange(box // 2 + 1)
    level = background_power(task, total)
    signal = np.maximum(total - level, _LEAST_SIGNAL * total)
    rows = np.unique(np.linspace(0, n - 1, min(n, 200)).astype(np.int64))
    band = FourierBand.between(box, 0, task.limits.last_px)
    ctf = ctf_in_band(task.table.ctf(rows), band, task.pixel_size_angst).astype(np.float64)
    counts = np.bincount(band.shell, minlength=len(shells))
    passed = np.bincount(band.shell, (ctf**2).mean(axis=0), minlength=len(shells))
    passed = np.where(counts > 0, passed / np.maximum(counts, 1), 1.0)
    share = min(1.0, float(np.clip(_BATCH_SHARE * n, *_BATCH_RANGE)) / n)
    steps = []
    for number, cutoff in enumerate(_cutoffs(task)):
        known = 0.9 * min(1.0, number / (0.8 * N_STEPS))
        steps.append(Anneal(number, int(cutoff), total - known * signal, signal / passed, share))
    return tuple(steps)


def _summed(task: Task, step: Anneal, volume: np.ndarray, last_px: int) -> SliceSums:
    """Return the sums, on the host, of this rank's particles of a step."""
    box, settings = task.box_size_px, task.config
    whole = FourierBand.between(box, 0, last_px)
    weight = 1.0 / float(np.median(step.noise_power))
    sums = SliceSums.zeros(
        whole, task.device, padding=settings.reconstruction.padding_factor,
        data_magnitude=weight**0.5, weight_magnitude=weight,
    )  # fmt: skip
    seed = settings.compute.random_seed
    search = Search(settings.filter, seed, step.number)
    draws = uniform(seed, step.number, _CHOICE, task.ids, 1)[:, 0]
    chosen = task.rows[draws < step.share]
    spectrum = fourier_volume(
        task.device.to_device(volume), max_radius_px=last_px,
        padding=settings.reconstruction.padding_factor,
    )  # fmt: skip
    scan_set = task.device.to_device(_scan_set(task, step, search))
    operators = to_matrices(task.operators)
    batch_size = settings.compute.batch_size or 256
    for rows, images in task.source.batches(chosen, batch_size, task.device):
        here = np.searchsorted(task.rows, rows)
        noise = np.broadcast_to(step.noise_power, (len(rows), len(step.noise_power)))
        data = particle_data(
            images, task.device.to_device(task.ids[here]), task.device.to_device(task.ctf[here]),
            task.device.to_device(noise), whole, task.pixel_size_angst,
        )  # fmt: skip
        rotations, shift_px, share = _views(data, spectrum, step, scan_set, search, task)
        _insert(sums, data.within(0, step.cutoff_px), rotations, shift_px, share, operators)
    return task.device.to_host(sums)


def _scan_set(task: Task, step: Anneal, search: Search) -> ScanSet:
    diameter_px = task.diameter_angst / task.pixel_size_angst
    coarse = max(step.cutoff_px / _COARSER, 1.0)
    n_rotations = scan_size(task.box_size_px, diameter_px, coarse, len(task.operators))
    settings = replace(
        search.filter,
        n_scan_rotations=max(n_rotations, 200 // len(task.operators)),
        shift_density=0.5 * search.filter.shift_density,
    )
    return make_scan_set(
        replace(search, filter=settings), box_size_px=task.box_size_px, diameter_px=diameter_px,
        cutoff_px=step.cutoff_px, lowest_px=task.limits.lowest_px, operators=task.operators,
    )  # fmt: skip


def _views(
    data: ParticleData, spectrum: FourierVolume, step: Anneal, scan_set: ScanSet, search: Search,
    task: Task,
) -> Tuple[Any, Any, Any]:  # fmt: skip
    """Return rotations (n, m, 4), shifts (n, m, 2) and weights (n, m) at which particles enter."""
    xp = namespace_of(data.spectra)
    n = len(data)
    if step.number == 0:
        rotations = normalise(search.normals(_FIRST_ROTATIONS, data.ids, 4))[:, None]
        return rotations, xp.zeros((n, 1, 2)), xp.ones((n, 1))
    coarse = data.within(task.limits.lowest_px, scan_set.cutoff_px)
    scan = start_scan(
        coarse.whitened(xp.ones((n, 1))), scan_set.shift_px, coarse.band, n_kept=_N_KEPT,
        log_shift_weight=shift_prior(scan_set.shift_px, search.filter.shift_std_px),
    )  # fmt: skip
    for first, slices in scan_set.slices(spectrum, coarse.band):
        update_scan(scan, slices, first)
    share, usable = weights_of(xp.where(scan.kept_rotation >= 0, scan.kept_log_mass, -xp.inf))
    rotations = scan_set.rotations[xp.maximum(scan.kept_rotation, 0)]
    shift_px = scan_set.shift_px[xp.maximum(scan.kept_shift, 0)]
    return rotations, shift_px, share * usable[:, None]


def _insert(
    sums: SliceSums, data: ParticleData, rotations: Any, shift_px: Any, share: Any,
    operators: np.ndarray,
) -> None:  # fmt: skip
    xp = namespace_of(data.spectra)
    image, view = xp.nonzero(share > 1e-3)
    ctf = data.ctf(xp.ones((len(data), 1)))[:, 0]
    phases = shift_phases(shift_px[image, view], data.band).conj()
    spectra = (data.spectra * ctf)[image] * phases
    views = Views(
        to_matrices(rotations[image, view]), np.arange(len(image)),
        share[image, view].astype(xp.float32),
    )  # fmt: skip
    backproject(sums, spectra, (ctf * ctf)[image], views, data.band, symmetry=operators)


def _map(data: FourierVolume, weights: np.ndarray, step: Anneal, lowest: float) -> np.ndarray:
    """Return the map of sums, each shell damped as its expected power asks for."""
    shells = grid_shells(weights.shape[2] - 1, data.padding)
    prior = 1.0 / np.take(step.signal_power, np.minimum(shells, len(step.signal_power) - 1))
    safe = floored(weights, data.padding, lowest) + prior
    inside = shells < step.cutoff_px
    values = divided(data, safe.astype(np.float32)).values * inside
    return map_of(
        FourierVolume(
            values.astype(np.complex64), data.box_size_px, data.padding, data.max_radius_px
        )
    )
