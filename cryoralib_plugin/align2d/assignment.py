# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules on whole classes, applied after every particle has taken its best reference."""

from __future__ import annotations

from typing import Any

import numpy as np

from cryoralib_plugin.kernels.random import uniform

RANDOM_PARTICLE_PHASE = 2

PRICE_ROUNDS = 40
# Scores are averaged over ranks as integers, in this share of a unit, so that prices are the
# same for any number of ranks.
SCORE_UNIT = 2.0**-16


def balanced_classes(scores: np.ndarray, comm: Any) -> np.ndarray:
    """Return classes of about equal size in which particles score highest.

    Every class has a price, the same for all particles, and a particle takes the class of highest
    score less price. The price of a class with more than its share of the particles rises until it
    has no more (the auction form of the assignment problem, Bertsekas 1988). Sharp, noiseless or
    merely lucky averages then cannot draw all particles while the others starve.

    Parameters
    ----------
    scores : (n, n_classes) float32, of this rank's particles; minus infinity for one without class.
    comm : the ranks of the run: sizes are those of the whole classes.

    Returns
    -------
    (n,) int32, class from 0; -1 for none.
    """
    live = np.isfinite(scores).all(axis=1)
    kept = scores[live].astype(np.float64)
    n_classes = scores.shape[1]
    spread = np.array([np.rint(kept.std(axis=1) / SCORE_UNIT).sum(), len(kept)], dtype=np.int64)
    total, n_live = comm.sum(spread)
    unit = total * SCORE_UNIT / max(n_live, 1)
    price = np.zeros(n_classes)
    choice = np.zeros(len(kept), dtype=np.int64)
    for i in range(PRICE_ROUNDS):
        choice = (kept - price).argmax(axis=1)
        sizes = comm.sum(np.bincount(choice, minlength=n_classes))
        excess = sizes * n_classes / max(n_live, 1) - 1.0
        if excess.max() < 0.05:
            break
        # Steps shrink, or the sizes of two like classes would swing for ever.
        price += 0.5 * unit / (1.0 + i / 8.0) * np.clip(excess, -0.5, 1.0)
    result = np.full(len(scores), -1, dtype=np.int32)
    result[live] = choice
    return result


def refill_empty_classes(
    reference: np.ndarray,
    score: np.ndarray,
    image_ids: np.ndarray,
    *,
    n_classes: int,
    minimum_size: int,
    policy: str,
    seed: int,
    iteration: int,
) -> np.ndarray:
    """Return the classes of all particles with those below the minimum size filled again.

    Parameters
    ----------
    reference : (n,) int32, class from 0; -1 for none.
    score : (n,) float64.
    image_ids : (n,) int64, global ids.
    policy : "split_largest" moves the worse half (by score) of the largest class: where a class
        holds two views, its average resembles the commoner one and the other scores worse.
        "random_particle" moves one random particle (SPARX). "keep" changes nothing.

    Returns
    -------
    (n,) int32
    """
    reference = reference.copy()
    if policy == "keep":
        return reference
    draws = uniform(seed, iteration, RANDOM_PARTICLE_PHASE, image_ids, 1)[:, 0]
    draws[reference < 0] = 2.0
    candidates = iter(np.argsort(draws, kind="stable")[: int((reference >= 0).sum())])
    sizes = np.bincount(reference[reference >= 0], minlength=n_classes)
    for empty in np.flatnonzero(sizes < minimum_size):
        if policy == "random_particle":
            reference[next(candidates)] = empty
            continue
        largest = int(np.argmax(sizes))
        if sizes[largest] < 2 * minimum_size:
            break
        members = np.flatnonzero(reference == largest)
        worse = members[np.argsort(score[members], kind="stable")[: len(members) // 2]]
        reference[worse] = empty
        sizes[largest] -= len(worse)
        sizes[empty] += len(worse)
    return reference
