# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules on whole classes, applied after every particle has taken its best reference."""

from __future__ import annotations

from typing import Any, Iterator, List

import numpy as np

from cryoralib_plugin.kernels.random import uniform

RANDOM_PARTICLE_PHASE = 2

PRICE_ROUNDS = 40
# Scores are averaged over ranks as integers, in this share of a unit, so that prices are the
# same for any number of ranks.
SCORE_UNIT = 2.0**-16
# Rows that are worked on together, so that no second matrix of all scores is made.
CHUNK_ROWS = 2**14


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
    n_classes = scores.shape[1]
    parts = [scores[first : first + CHUNK_ROWS] for first in range(0, len(scores), CHUNK_ROWS)]
    live = np.isfinite(scores).all(axis=1)
    spread = sum(int(np.rint(part.std(axis=1) / SCORE_UNIT).sum()) for part in _live(parts))
    total, n_live = comm.sum(np.array([spread, live.sum()], dtype=np.int64))
    unit = total * SCORE_UNIT / max(n_live, 1)
    price = np.zeros(n_classes)
    for i in range(PRICE_ROUNDS):
        choice = _choices(parts, price)
        sizes = comm.sum(np.bincount(choice[live], minlength=n_classes))
        excess = sizes * n_classes / max(n_live, 1) - 1.0
        if excess.max() < 0.05:
            break
        # Steps shrink, or the sizes of two like classes would swing for ever.
        price += 0.5 * unit / (1.0 + i / 8.0) * np.clip(excess, -0.5, 1.0)
    return np.where(live, _choices(parts, price), -1).astype(np.int32)


def _choices(parts: List[np.ndarray], price: np.ndarray) -> np.ndarray:
    """Return (n,) the class of highest score less price."""
    asked = price.astype(np.float32)
    chosen = [(part - asked).argmax(axis=1) for part in parts]
    return np.concatenate(chosen) if chosen else np.zeros(0, dtype=np.int64)


def _live(parts: List[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield the rows of particles that have scores, in double precision."""
    for part in parts:
        yield part[np.isfinite(part).all(axis=1)].astype(np.float64)


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
