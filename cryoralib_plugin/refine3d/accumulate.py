# SPDX-License-Identifier: GPL-3.0-or-later
"""Particles enter the sums of a round: at all their likely poses, in all their likely classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Tuple

import numpy as np

from cryoralib_plugin.arrays import namespace_of
from cryoralib_plugin.fourier.band import FourierBand, mean_shift_phases, shift_phases
from cryoralib_plugin.fourier.volume import FourierVolume
from cryoralib_plugin.geometry.rotations import to_matrices
from cryoralib_plugin.kernels.backproject import Views, backproject
from cryoralib_plugin.kernels.device import Device
from cryoralib_plugin.kernels.project import project
from cryoralib_plugin.kernels.random import uniform

from .expectation import Found, Outcome
from .local_search import Search
from .particle_data import ParticleData
from .posterior import Posterior
from .resample import systematic_counts
from .sums import POWER_UNIT, NoiseSums, RoundSums

GRADE_RANGE = (0.1, 3.0)
"""Least and largest weight of a particle in the map, relative to the mean of its half."""

_LEAST_PROBABILITY = 1e-3
"""Classes less likely than this for a particle do not receive it."""

_ONE_POSE_DEG = 8.0
"""Standard deviation about an axis below which a few views stand for a posterior."""

_VIEW_STREAM = 210


@dataclass(frozen=True)
class Insertion:
    """What the particles of a round enter, and how.

    Attributes
    ----------
    sums : changed in place.
    device : where the particles are.
    n_views : at how many rotations a particle enters a map: its posterior, drawn systematically.
    n_views_of_one : the same for a particle that has one pose.
    symmetry : (order, 3, 3) float64 on the host.
    lowest_px, cutoff_px : band of the comparison, for the scores.
    mean_score : (2,) float64, score of a particle of weight 1, by half; NaN: all weigh the same.
    """

    sums: RoundSums
    device: Device
    n_views: int
    n_views_of_one: int
    symmetry: np.ndarray
    lowest_px: int
    cutoff_px: int
    mean_score: np.ndarray


@dataclass(frozen=True)
class Members:
    """Which particles a batch holds.

    Attributes
    ----------
    half : 0 or 1, of all of them.
    part : of the half, of all of them.
    group : (n,) int64, number of the noise group.
    row : (n,) int64, of the particle table.
    """

    half: int
    part: int
    group: np.ndarray
    row: np.ndarray


def accumulate(
    data: ParticleData,
    volumes: Tuple[FourierVolume, ...],
    found: Found,
    members: Members,
    search: Search,
    insertion: Insertion,
) -> Outcome:
    """Add particles of one half to the sums of a round; return what the round says about them.

    The expectation over support points is a sum over a few distinct rotations, each with the mean
    phase over shifts and the mean CTF and CTF^2 over defoci (exact for independent points), in
    place of random draws of whole poses.

    Parameters
    ----------
    data : in the band of the reconstruction.
    volumes : spectra of the references of this half, as wide.
    found : posteriors of these particles.
    members : which particles these are.
    search : key of the random draws.
    insertion : what to add to.
    """
    outcome = _outcome(data, volumes, found, members, insertion)
    xp, to_host = namespace_of(data.spectra), insertion.device.to_host
    offsets = uniform(search.seed, search.iteration, _VIEW_STREAM, data.ids, 1)[:, 0]
    weight = xp.asarray(outcome.weight)
    for k, posterior in enumerate(found.posteriors):
        probability = found.class_probability[:, k] * weight * posterior.usable
        rows = xp.flatnonzero(probability > _LEAST_PROBABILITY * weight)
        mass = to_host(found.class_probability[:, k] * posterior.usable)
        insertion.sums.class_mass[k] += np.rint(mass / POWER_UNIT).astype(np.int64).sum()
        if not len(rows):
            continue
        some, chosen = data[rows], posterior[rows]
        is_one = found.spreads[k][1][rows].max(axis=1) < _ONE_POSE_DEG
        n_views = xp.where(is_one, insertion.n_views_of_one, insertion.n_views)
        counts = systematic_counts(chosen.rotation_weight, offsets[rows], n_views)
        image, point = xp.nonzero(counts)
        share = counts[image, point] / n_views[image] * probability[rows][image]
        spectra, power = _mean_spectra(some, chosen)
        backproject(
            insertion.sums.parts[k][members.half][members.part],
            spectra,
            power,
            Views(
                to_matrices(chosen.rotations[image, point]), to_host(image),
                share.astype(xp.float32),
            ),
            data.band,
            symmetry=insertion.symmetry,
        )  # fmt: skip
    return outcome


def _mean_spectra(data: ParticleData, posterior: Posterior) -> Tuple[Any, Any]:
    """Return ``conj(mean phase) mean(C) X / sigma^2`` and ``mean(C^2) / sigma^2``, (n, n_terms)."""
    xp = namespace_of(data.spectra)
    phase = mean_shift_phases(posterior.shift_px, posterior.shift_weight, data.band)
    ctf = data.ctf(posterior.defocus_factor)
    share = posterior.defocus_weight[:, :, None].astype(xp.float32)
    return data.spectra * (ctf * share).sum(axis=1) * phase.conj(), (ctf * ctf * share).sum(axis=1)


def _outcome(
    data: ParticleData,
    volumes: Tuple[FourierVolume, ...],
    found: Found,
    members: Members,
    insertion: Insertion,
) -> Outcome:
    """Return poses, scores and weights; add what is left of the particles to the noise sums."""
    xp, to_host = namespace_of(data.spectra), insertion.device.to_host
    n = len(data)
    best = found.class_probability.argmax(axis=1)
    rotation, angular = xp.zeros((n, 4)), xp.zeros((n, 3))
    shift, shift_std = xp.zeros((n, 2)), xp.zeros((n, 2))
    factor, factor_std = xp.zeros(n), xp.zeros(n)
    score, usable = xp.zeros(n), found.usable
    expected = xp.zeros_like(data.spectra)
    for k, posterior in enumerate(found.posteriors):
        rows = xp.flatnonzero(best == k)
        if not len(rows):
            continue
        some = posterior[rows]
        rotation[rows], angular[rows] = found.spreads[k][0][rows], found.spreads[k][1][rows]
        shift[rows], shift_std[rows] = some.shift_moments()
        factor[rows], factor_std[rows] = some.defocus_moments()
        score[rows] = some.best_score
        slices = project(volumes[k], to_matrices(rotation[rows]), data.band)
        phases = shift_phases(shift[rows], data.band)
        # A product with a temporary on the right is taken the other way round where that is large,
        # and complex products round differently so: bits would depend on the size of the batch.
        expected[rows] = slices * phases
    expected = expected * data.ctf(factor[:, None])[:, 0]
    power = _add_noise(data, expected, usable, members, insertion)
    # The likelihood of the best point is a P - P / 2: the mean of an uncertain pose says less.
    amplitude = xp.where(power > 0.0, score / xp.where(power > 0.0, power, 1.0) + 0.5, 0.0) * usable
    angular_std = xp.sqrt((angular**2).mean(axis=1))
    grade = xp.ones(n)
    mean_score = float(insertion.mean_score[members.half])
    if np.isfinite(mean_score):
        # Least squares gives an image of amplitude a the weight a. How uncertain its pose is need
        # not be counted too: it enters at all its likely views.
        grade = xp.clip(amplitude / mean_score, *GRADE_RANGE)
    return Outcome(
        rotations=to_host(rotation),
        shift_px=to_host(shift),
        defocus_factor=to_host(factor),
        class_probability=to_host(found.class_probability),
        angular_std_deg=to_host(angular_std),
        shift_std_px=to_host(xp.sqrt((shift_std**2).mean(axis=1))),
        defocus_std=to_host(factor_std),
        score=to_host(amplitude),
        weight=to_host(grade * usable),
        log_likelihood=to_host(score),
        n_phases=to_host(found.n_phases),
        usable=to_host(usable),
    )


def _add_noise(
    data: ParticleData, expected: Any, usable: Any, members: Members, insertion: Insertion
) -> Any:
    """Add residual powers to the noise sums; return the powers of the projections, (n,)."""
    xp, to_host = namespace_of(data.spectra), insertion.device.to_host
    inside = xp.asarray(_inside(data.band, insertion))
    cross = (expected.real * data.spectra.real + expected.imag * data.spectra.imag) * inside
    power = (expected.real**2 + expected.imag**2) * inside
    cross, power = cross.sum(axis=1, dtype=xp.float64), power.sum(axis=1, dtype=xp.float64)
    left = data.spectra - expected
    residual = 0.5 * (left.real**2 + left.imag**2)
    noise, half = insertion.sums.noise, members.half
    keep = to_host(usable)
    group, means = members.group[keep], _shell_means(to_host(residual), data.band, noise)[keep]
    np.add.at(noise.power[half], group, _in_units(means))
    np.add.at(noise.cross[half], group, _in_units(to_host(cross)[keep]))
    np.add.at(noise.reference_power[half], group, _in_units(to_host(power)[keep]))
    np.add.at(noise.counts[half], group, 1)
    # The mean of an image is not noise.
    counts = np.bincount(data.band.shell, minlength=means.shape[1])[1:]
    left_over = (means[:, 1:] * counts).sum(axis=1) / counts.sum()
    insertion.sums.residual[members.row[keep]] = _in_units(left_over)
    return power


def _shell_means(residual: np.ndarray, band: FourierBand, noise: NoiseSums) -> np.ndarray:
    """Return means over shells, (n, n_shells) float64; 0 where the band has no terms."""
    n_shells = noise.power.shape[-1]
    counts = np.bincount(band.shell, minlength=n_shells)
    order = np.argsort(band.shell, kind="stable")
    starts = np.searchsorted(band.shell[order], np.arange(n_shells)[counts > 0])
    means = np.zeros((len(residual), n_shells))
    sums = np.add.reduceat(residual[:, order].astype(np.float64), starts, axis=1)
    means[:, counts > 0] = sums / counts[counts > 0]
    return means


def _in_units(values: np.ndarray) -> np.ndarray:
    return np.rint(values / POWER_UNIT).astype(np.int64)


def _inside(band: FourierBand, insertion: Insertion) -> np.ndarray:
    squared = band.kx.astype(np.int64) ** 2 + band.ky.astype(np.int64) ** 2
    is_compared = (squared >= insertion.lowest_px**2) & (squared < insertion.cutoff_px**2)
    return is_compared.astype(np.float32)
