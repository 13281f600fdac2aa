# SPDX-License-Identifier: GPL-3.0-or-later
"""What a round learns about each particle: its pose, its class, and how sure of them it is."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, List, Optional, Tuple

import numpy as np

from cryoralib_plugin.arrays import namespace_of
from cryoralib_plugin.fourier.volume import FourierVolume
from cryoralib_plugin.geometry.acg import gaussian_std_deg
from cryoralib_plugin.kernels.random import uniform

from .cloud import PoseCloud
from .evidence import log_evidence
from .global_search import ScanSet, global_search
from .local_search import Search, proposal_of
from .particle_data import ParticleData
from .pose_search import Reach, search_near
from .posterior import Posterior
from .resample import rows_of_counts, systematic_counts, weights_of

_CLOUD_STREAM = 200
"""Number of the first random stream that resamples what a particle remembers."""


@dataclass(frozen=True)
class Outcome:
    """What a round says about n particles, on the host.

    Attributes
    ----------
    rotations : (n, 4) float64, posterior mean in the likeliest class.
    shift_px : (n, 2) float64.
    defocus_factor : (n,) float64.
    class_probability : (n, n_classes) float64, sum 1.
    angular_std_deg : (n,) float64, posterior standard deviation about an axis, mean square of 3.
    shift_std_px, defocus_std : (n,) float64.
    score : (n,) float64
        Amplitude of the best projection in the image, relative to the map: about 1 for a
        particle; that of noise falls with the detail compared.
    weight : (n,) float64, what the particle counts in the map.
    log_likelihood : (n,) float64, of the best support point, relative to an image of noise alone.
    n_phases : (n,) int64.
    usable : (n,) bool, False for a particle whose weights were not finite.
    """

    rotations: np.ndarray
    shift_px: np.ndarray
    defocus_factor: np.ndarray
    class_probability: np.ndarray
    angular_std_deg: np.ndarray
    shift_std_px: np.ndarray
    defocus_std: np.ndarray
    score: np.ndarray
    weight: np.ndarray
    log_likelihood: np.ndarray
    n_phases: np.ndarray
    usable: np.ndarray

    @classmethod
    def none(cls, n: int, n_classes: int) -> Outcome:
        """Return what is known of particles that no round has seen."""
        rotations = np.zeros((n, 4))
        rotations[:, 0] = 1.0
        zero = np.zeros(n)
        return cls(
            rotations, np.zeros((n, 2)), np.ones(n), np.full((n, n_classes), 1.0 / n_classes),
            zero + np.inf, zero + np.inf, zero.copy(), zero.copy(), zero.copy(), zero.copy(),
            np.zeros(n, np.int64), np.zeros(n, bool),
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.usable)

    def put(self, rows: np.ndarray, part: Outcome) -> None:
        """Replace what is known of some particles, in place."""
        for field in fields(self):
            getattr(self, field.name)[rows] = getattr(part, field.name)

    @property
    def class_index(self) -> np.ndarray:
        """(n,) int64, the likeliest class of each particle, from 0."""
        return self.class_probability.argmax(axis=1)


@dataclass(frozen=True)
class Found:
    """Posteriors of n particles in all classes.

    Attributes
    ----------
    posteriors : one for each class.
    class_probability : (n, n_classes) float64.
    spreads : for each class, rotation (n, 4) and standard deviations (n, 3) in degrees.
    n_phases : (n,) int64, the most of any class.
    """

    posteriors: Tuple[Posterior, ...]
    class_probability: Any
    spreads: Tuple[Tuple[Any, Any], ...]
    n_phases: Any

    @property
    def usable(self) -> Any:
        """(n,) bool, whether any class gave a finite likelihood."""
        xp = namespace_of(self.class_probability)
        return xp.stack([one.usable for one in self.posteriors]).any(axis=0)


def expectation(
    data: ParticleData,
    volumes: Tuple[FourierVolume, ...],
    cloud: PoseCloud,
    class_shares: Any,
    search: Search,
    reach: Reach,
    scan_set: Optional[ScanSet],
    doubtful: Any,
) -> Found:
    """Return the posteriors of n particles, all of one half.

    Class k has the probability ``share_k Z_k / sum``, Z_k the evidence of `evidence.log_evidence`.

    Parameters
    ----------
    data : particles in the band of the round.
    volumes : spectrum of the map of each class.
    cloud : what the particles remember.
    class_shares : (n_classes,) float64.
    search : shared settings.
    reach : distance of neighbouring poses in the round.
    scan_set : of a global round; without one, particles are searched near their clouds.
    doubtful : (n,) bool, which particles are scanned in every round.
    """
    xp = namespace_of(data.spectra)
    posteriors: List[Posterior] = []
    spreads, phases = [], []
    for k, volume in enumerate(volumes):
        points = (cloud.rotations[:, k], cloud.shift_px[:, k])
        before = proposal_of(*points, cloud.defocus_factor[:, k])
        if scan_set is None:
            found, n_phases = search_near(data, volume, before, points, reach, search)
        else:
            found, n_phases = global_search(
                data, volume, before, points, cloud.known, doubtful, scan_set, search
            )
        posteriors.append(found)
        spread = found.rotation_spread()
        std_deg = gaussian_std_deg(spread.ratio)
        # The mean of many poses is none of them.
        wide = std_deg.max(axis=1, keepdims=True) > reach.wide_deg
        spreads.append((xp.where(wide, found.best_rotation(), spread.mean), std_deg))
        phases.append(n_phases)
    log_posterior = log_evidence(data, volumes, posteriors) + xp.log(xp.asarray(class_shares))
    probability, _ = weights_of(log_posterior)
    n_phases = xp.stack(phases).max(axis=0)
    return Found(tuple(posteriors), probability, tuple(spreads), n_phases)


def remembered(found: Found, ids: Any, cloud: PoseCloud, search: Search) -> PoseCloud:
    """Return the clouds that particles take to the next round: points drawn by their weights.

    Parameters
    ----------
    cloud : of before, which tells the numbers of points.
    """
    xp = namespace_of(found.class_probability)
    parts: List[List[Any]] = []
    for one in found.posteriors:
        drawn = []
        for number, (points, weights, like) in enumerate(
            (
                (one.rotations, one.rotation_weight, cloud.rotations),
                (one.shift_px, one.shift_weight, cloud.shift_px),
                (one.defocus_factor, one.defocus_weight, cloud.defocus_factor),
            )
        ):
            n_points = like.shape[2]
            if points.shape[1] == 1:
                # What was not searched keeps its spread for the stage that will.
                drawn.append(like[:, len(parts)])
                continue
            offsets = uniform(search.seed, search.iteration, _CLOUD_STREAM + number, ids, 1)[:, 0]
            rows = rows_of_counts(systematic_counts(weights, offsets, n_points), n_points)
            rows = rows.reshape(rows.shape + (1,) * (points.ndim - 2))
            drawn.append(xp.take_along_axis(points, rows, axis=1).astype(xp.float32))
        parts.append(drawn)
    rotations, shifts, defoci = (xp.stack(part, axis=1) for part in zip(*parts))
    return PoseCloud(rotations, shifts, defoci, found.usable | cloud.known)
