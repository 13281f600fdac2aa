# SPDX-License-Identifier: GPL-3.0-or-later
"""What happens to classes that lose their members."""

import numpy as np
import pytest

from cryoralib_plugin.align2d.assignment import refill_empty_classes


def refill(reference, score=None, *, policy="split_largest", n_classes=3, minimum=2, **more):
    reference = np.asarray(reference, dtype=np.int32)
    score = np.arange(len(reference), dtype=float) if score is None else np.asarray(score)
    return refill_empty_classes(
        reference,
        score,
        more.pop("image_ids", np.arange(1, len(reference) + 1)),
        n_classes=n_classes,
        minimum_size=minimum,
        policy=policy,
        seed=more.pop("seed", 1),
        iteration=more.pop("iteration", 1),
    )


def test_an_empty_class_takes_the_worse_half_of_the_largest():
    reference = [0, 0, 0, 0, 0, 0, 1, 1, -1]
    score = [5.0, 1.0, 6.0, 2.0, 3.0, 4.0, 0.0, 0.0, 9.0]
    assert refill(reference, score).tolist() == [0, 2, 0, 2, 2, 0, 1, 1, -1]


def test_several_empty_classes_are_all_filled():
    new = refill([0] * 40, n_classes=4)
    assert np.bincount(new).tolist() == [10, 10, 10, 10] or np.bincount(new).min() >= 2


def test_nothing_is_split_below_the_minimum():
    reference = [0, 0, 0, 1, 1]
    assert refill(reference, minimum=2).tolist() == reference


def test_a_random_particle_depends_on_ids_seed_and_iteration_only(rng):
    reference = rng.integers(0, 2, 50)
    ids = np.arange(101, 151)
    new = refill(reference, policy="random_particle", image_ids=ids)
    assert (new != reference).sum() == 1 and (new == 2).sum() == 1
    chosen = ids[new == 2][0]
    order = rng.permutation(50)
    shuffled = refill(reference[order], policy="random_particle", image_ids=ids[order])
    assert ids[order][shuffled == 2][0] == chosen
    others = {
        ids[refill(reference, policy="random_particle", image_ids=ids, iteration=i) == 2][0]
        for i in range(2, 12)
    }
    assert len(others) > 3


@pytest.mark.parametrize("policy", ["split_largest", "random_particle", "keep"])
def test_full_classes_and_particles_without_class_stay(policy):
    reference = [0, 0, 1, 1, 2, 2, -1]
    assert refill(reference, policy=policy).tolist() == reference


def test_keep_leaves_empty_classes_empty():
    assert refill([0, 0, 0, 0], policy="keep").tolist() == [0, 0, 0, 0]
