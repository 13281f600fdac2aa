# SPDX-License-Identifier: GPL-3.0-or-later
"""Support points drawn again in proportion to their weights.

Weights of n support points are (..., n); leading axes are particles. Draws come from
`kernels.random` as arguments.
"""

from __future__ import annotations

from typing import Any, Tuple

from cryoralib_plugin.arrays import namespace_of

_BISECTIONS = 20


def weights_of(log_weights: Any) -> Tuple[Any, Any]:
    """Return weights that add up to 1, (..., n) float64, and where there are any, (...) bool.

    ``w = exp(l - max l) / sum``. A row without a finite largest entry, as of a particle with bad
    pixels, gets even weights and False: the particle is to be set aside, the run goes on.

    Parameters
    ----------
    log_weights : (..., n) float; -inf is a weight of 0.
    """
    xp = namespace_of(log_weights)
    logs = log_weights.astype(xp.float64)
    highest = logs.max(axis=-1, keepdims=True)
    usable = xp.isfinite(highest)
    exponent = xp.where(usable, logs - xp.where(usable, highest, 0.0), 0.0)
    weights = xp.exp(exponent)
    return weights / weights.sum(axis=-1, keepdims=True), usable[..., 0]


def n_effective(weights: Any) -> Any:
    """Return how many points of equal weight would say as much, (...) float64: 1 / sum w^2."""
    return 1.0 / (weights**2).sum(axis=-1)


def systematic_counts(weights: Any, offsets: Any, n_points: Any) -> Any:
    """Return how often each point is drawn, (..., n) int64, n_points in all.

    Systematic resampling (Carpenter et al., IEE Proc. Radar Sonar Navig. 146, 2 (1999)): the marks
    ``(u + j) / n_points`` on the cumulative weights. A count differs from ``n_points w`` by less
    than 1 and is that in the mean over u.

    Parameters
    ----------
    weights : (..., n) float, not negative; they add up to 1.
    offsets : (...) float, u, uniform draws from the open interval (0, 1).
    n_points : number of draws, one for all clouds or (...) int64.

    Raises
    ------
    ValueError
        If n_points is not positive, or weights do not add up to 1.
    """
    xp = namespace_of(weights)
    n_points = xp.asarray(n_points)[..., None]
    if bool((n_points < 1).any()):
        raise ValueError(
            f"at least 1 support point must be drawn, but {int(n_points.min())} are asked for"
        )
    upto = xp.cumsum(weights.astype(xp.float64), axis=-1)
    if not bool((xp.abs(upto[..., -1] - 1.0) < 1e-6).all()):
        raise ValueError("weights of support points must be finite and add up to 1, but do not")
    marks = xp.ceil(n_points * upto - xp.asarray(offsets)[..., None]).astype(xp.int64)
    # Rounding of the sum must not lose the last mark.
    marks = xp.clip(marks, 0, n_points)
    marks[..., -1] = n_points[..., 0]
    counts = marks.copy()
    counts[..., 1:] -= marks[..., :-1]
    return counts


def rows_of_counts(counts: Any, n_points: int) -> Any:
    """Return which point each draw is, (..., n_points) int64: point i as often as counted.

    Parameters
    ----------
    counts : (..., n) int64, of `systematic_counts`.
    n_points : their sum in every row.
    """
    xp = namespace_of(counts)
    flat = counts.reshape(-1, counts.shape[-1])
    # Draw j is the point whose draws end after j: as many points as end at or before j precede it.
    ends = xp.cumsum(flat, axis=-1) + (n_points + 1) * xp.arange(len(flat))[:, None]
    ending = xp.bincount(ends.ravel(), minlength=(n_points + 1) * len(flat))
    rows = xp.cumsum(ending.reshape(len(flat), n_points + 1), axis=-1)[:, :-1]
    return rows.reshape(counts.shape[:-1] + (n_points,))


def tempered(log_weights: Any, n_lowest: float) -> Tuple[Any, Any]:
    """Return weights ``w^b``, (..., n), sum 1, with b <= 1 just so low that enough points count.

    Annealing: while points lie wide apart, the heaviest one is heavy by chance of where it lies.

    Parameters
    ----------
    log_weights : (..., n) float; -inf is a weight of 0.
    n_lowest : effective points to leave, below the number of finite ones.

    Returns
    -------
    weights : (..., n) float64.
    exponent : (...) float64, b, the largest in (0, 1] that leaves ``n_lowest`` effective points.
    """
    xp = namespace_of(log_weights)
    logs = log_weights.astype(xp.float64)
    finite = xp.isfinite(logs)
    logs = xp.where(finite, logs, -xp.inf)
    logs = xp.where(finite, logs - logs.max(axis=-1, keepdims=True), 0.0)

    def powers(exponent: Any) -> Any:
        raised = xp.where(finite, xp.exp(exponent[..., None] * logs), 0.0)
        return raised / raised.sum(axis=-1, keepdims=True)

    low, high = xp.zeros(logs.shape[:-1]), xp.ones(logs.shape[:-1])
    whole = powers(high)
    is_enough = n_effective(whole) >= n_lowest
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        enough = n_effective(powers(middle)) >= n_lowest
        low, high = xp.where(enough, middle, low), xp.where(enough, high, middle)
    weights = xp.where(is_enough[..., None], whole, powers(low))
    return weights, xp.where(is_enough, 1.0, low)
