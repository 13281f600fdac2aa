# SPDX-License-Identifier: GPL-3.0-or-later
"""How likely a particle makes each class: all classes are asked about the same poses."""

from __future__ import annotations

from typing import Any, Sequence, Tuple

from cryoralib_plugin.arrays import namespace_of
from cryoralib_plugin.fourier.volume import FourierVolume
from cryoralib_plugin.geometry.rotations import to_matrices
from cryoralib_plugin.kernels.score import local_scores

from .particle_data import ParticleData
from .posterior import Posterior
from .resample import rows_of_counts, systematic_counts

_ROTATIONS, _SHIFTS = 24, 8
"""Points of each class's posterior at which all classes are compared."""

_ITERATIONS = 10
"""Of the equations for the evidence; each brings clouds that overlap to one level."""


def log_evidence(
    data: ParticleData, volumes: Tuple[FourierVolume, ...], posteriors: Sequence[Posterior]
) -> Any:
    """Return the log-evidence of K classes for n particles, (n, K) float64, up to a constant.

    ``Z_k``, the integral of the likelihood of class k over poses, is needed in ratios only. With x
    the support points of all classes, drawn from their posteriors ``L_m / Z_m``,

    ``Z_k = sum_x L_k(x) / sum_m L_m(x) / Z_m``

    (Bennett, J. Comput. Phys. 22, 245 (1976); Shirts and Chodera, J. Chem. Phys. 129, 124105
    (2008)), solved by iteration from the largest likelihood of each class. Each posterior's own
    estimate, its largest likelihood times the volume of its peak, is off by some units where there
    are several peaks, and by another error for each class; likelihoods at common poses are not, and
    ratios are exact for maps that are the same but for a factor. Classes that have no pose in
    common keep the ratio of their largest likelihoods.

    Likelihoods are summed over a cloud's shifts, whatever those stand for: the factor is the same
    for all classes.

    Parameters
    ----------
    data : particles in the band that is compared.
    volumes : spectrum of the map of each class.
    posteriors : of each class.
    """
    xp = namespace_of(data.spectra)
    level = xp.stack([one.best_score for one in posteriors], axis=1)
    usable = xp.stack([one.usable for one in posteriors], axis=1)
    if len(posteriors) == 1:
        return xp.where(usable, level, -xp.inf)
    whitened = [data.whitened(one.defocus_moments()[0][:, None]) for one in posteriors]
    points = [_drawn(one) for one in posteriors]
    rows = []
    for volume in volumes:
        parts = []
        for particles, (rotations, shift_px) in zip(whitened, points):
            scores = local_scores(volume, particles, to_matrices(rotations), shift_px, data.band)
            parts.append(_log_sum(scores[..., 0].astype(xp.float64), axis=2))
        rows.append(xp.stack(parts, axis=1))
    # Class that is asked, class whose point it is, point. A class without a finite likelihood
    # neither answers nor offers points.
    is_offered = usable[:, None, :, None]
    likelihood = xp.where(usable[:, :, None, None], xp.stack(rows, axis=1), -xp.inf)
    for _ in range(_ITERATIONS):
        level = xp.where(usable, level, 0.0)
        mixture = _log_sum(likelihood - level[:, :, None, None], axis=1)[:, None]
        mixture = xp.where(is_offered, mixture, 0.0)
        term = xp.where(is_offered, likelihood - mixture, -xp.inf)
        level = _log_sum(term.reshape(term.shape[:2] + (-1,)), axis=2)
    return xp.where(usable, level, -xp.inf)


def _drawn(found: Posterior) -> Tuple[Any, Any]:
    """Return rotations (n, n_rotations, 4) and shifts (n, n_shifts, 2) by their weights."""
    xp = namespace_of(found.rotations)
    middle = xp.full(len(found.rotations), 0.5)
    drawn = []
    for points, weights, most in (
        (found.rotations, found.rotation_weight, _ROTATIONS),
        (found.shift_px, found.shift_weight, _SHIFTS),
    ):
        number = min(most, points.shape[1])
        rows = rows_of_counts(systematic_counts(weights, middle, number), number)
        drawn.append(xp.take_along_axis(points, rows[..., None], axis=1))
    return drawn[0], drawn[1]


def _log_sum(logs: Any, axis: int) -> Any:
    """Return ``log sum exp`` over an axis; -inf where there is nothing."""
    xp = namespace_of(logs)
    highest = logs.max(axis=axis, keepdims=True)
    highest = xp.where(xp.isfinite(highest), highest, 0.0)
    total = xp.exp(logs - highest).sum(axis=axis, keepdims=True)
    return xp.squeeze(xp.where(total > 0.0, xp.log(xp.where(total > 0.0, total, 1.0)), -xp.inf)
                      + highest, axis=axis)  # fmt: skip
