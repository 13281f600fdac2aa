# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules on whole classes, applied after every particle has taken its best reference.

They look at all particles of the run at once and change classes only, never poses.
"""

from __future__ import annotations

import numpy as np

from cryoralib_plugin.kernels.random import uniform

RANDOM_PARTICLE_PHASE = 2


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
