# SPDX-License-Identifier: GPL-3.0-or-later
"""Random draws that depend on nothing but their key: Philox4x32-10, the same bits everywhere.

A draw is named by (seed, iteration, phase, particle id, draw), so it does not change with the
number of ranks, the batch, the threads or the backend. Salmon et al., Parallel random
numbers: as easy as 1, 2, 3 (SC 2011); known answers from the Random123 library.

The key is the seed. The counter is (draw // 4, particle id low, particle id high,
iteration << 8 | phase), each 32 bits; draw % 4 chooses one of the four words of a block.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cryoralib_plugin.kernels._dispatch import twin_of

_LIMITS = {"seed": 2**64, "iteration": 2**24, "phase": 2**8, "n_draws": 2**34}


def words(seed: int, iteration: int, phase: int, particle_ids: Any, n_draws: int) -> Any:
    """Return (n, n_draws) uint32 random words on the device of ``particle_ids``.

    Parameters
    ----------
    seed : of the run, below 2^64.
    iteration : below 2^24.
    phase : below 256
        Tells apart draws that one program makes for one particle in one iteration.
    particle_ids : (n,) integers, not negative
        Global ids, the same on whichever rank the particle lives.
    n_draws : draws for each particle.

    Raises
    ------
    ValueError
        If a part of the key does not fit.
    """
    twin, counters = _prepare(seed, iteration, phase, particle_ids, n_draws)
    return twin.words(particle_ids, counters, n_draws)


def uniform(seed: int, iteration: int, phase: int, particle_ids: Any, n_draws: int) -> Any:
    """Return (n, n_draws) float64 draws from the open interval (0, 1): ``(word + 1/2) / 2^32``.

    Exactly the same on both backends. The arguments are those of `words`.
    """
    twin, counters = _prepare(seed, iteration, phase, particle_ids, n_draws)
    return twin.uniform(particle_ids, counters, n_draws)


def normal(seed: int, iteration: int, phase: int, particle_ids: Any, n_draws: int) -> Any:
    """Return (n, n_draws) float64 standard normal draws, by Box and Muller from pairs of words.

    ``z0 = sqrt(-2 ln u0) cos(2 pi u1)``, ``z1 = sqrt(-2 ln u0) sin(2 pi u1)``. The words are
    those of `words`, and so are the arguments; logarithm and sine of two backends differ in the
    last digits.
    """
    twin, counters = _prepare(seed, iteration, phase, particle_ids, n_draws)
    return twin.normal(particle_ids, counters, n_draws)


def _prepare(
    seed: int, iteration: int, phase: int, particle_ids: Any, n_draws: int
) -> tuple[Any, np.ndarray]:
    """Check the key and return the twin module and (key low, key high, last counter word)."""
    given = {"seed": seed, "iteration": iteration, "phase": phase, "n_draws": n_draws}
    for name, value in given.items():
        if not 0 <= value < _LIMITS[name]:
            raise ValueError(
                f"{name} of a random draw must be at least 0 and below {_LIMITS[name]}, "
                f"but it is {value}"
            )
    if particle_ids.ndim != 1 or particle_ids.dtype.kind not in "iu":
        raise ValueError(
            "particle ids must be a one-dimensional array of integers, but they are "
            f"{particle_ids.ndim}-dimensional {particle_ids.dtype}"
        )
    if len(particle_ids) and int(particle_ids.min()) < 0:
        raise ValueError(f"particle ids must not be negative, but one is {particle_ids.min()}")
    key = [seed & 0xFFFFFFFF, seed >> 32, iteration << 8 | phase]
    return twin_of(__name__, particle_ids=particle_ids), np.array(key, dtype=np.uint32)
