# SPDX-License-Identifier: GPL-3.0-or-later
"""What happens to classes that lose their members."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from cryoralib_plugin.align2d.assignment import balanced_classes, refill_empty_classes
from cryoralib_plugin.parallel.communicator import SerialCommunicator


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


def skewed_scores(rng, n=400, n_classes=4):
    """Particles of four kinds, and a class that draws all of them by a higher score."""
    kind = np.repeat(np.arange(n_classes), n // n_classes)
    scores = rng.normal(0.0, 0.3, (n, n_classes))
    scores[np.arange(n), kind] += 1.0
    scores[:, 0] += 3.0
    return scores.astype(np.float32), kind


def test_balanced_classes_undo_an_attractor(rng):
    scores, kind = skewed_scores(rng)
    assert (scores.argmax(axis=1) == 0).mean() > 0.9
    choice = balanced_classes(scores, SerialCommunicator())
    assert np.bincount(choice, minlength=4).max() <= 1.06 * 100
    assert (choice == kind).mean() > 0.9


def test_balanced_classes_of_nearly_equal_averages_are_of_nearly_equal_size(rng):
    scores = (1000.0 + rng.normal(0.0, 1.0, (3000, 10))).astype(np.float32)
    scores += np.linspace(0, 2, 10, dtype=np.float32)
    sizes = np.bincount(balanced_classes(scores, SerialCommunicator()), minlength=10)
    assert sizes.max() <= 1.06 * 300 and sizes.min() > 200


def test_particles_without_class_stay_without(rng):
    scores, _ = skewed_scores(rng)
    scores[::7] = -np.inf
    choice = balanced_classes(scores, SerialCommunicator())
    assert (choice[::7] == -1).all() and (np.delete(choice, np.arange(0, 400, 7)) >= 0).all()


class ThirdOfThem(SerialCommunicator):
    """One of three ranks, run in step with the others in threads."""

    def __init__(self, shared, barrier):
        self.shared, self.together = shared, barrier

    def sum(self, value):
        self.shared.append(value)
        self.together.wait()
        total = sum(self.shared[-3:])
        self.together.wait()
        return total


def test_balanced_classes_do_not_depend_on_ranks(rng):
    scores, _ = skewed_scores(rng)
    shared, barrier = [], threading.Barrier(3)
    with ThreadPoolExecutor(3) as pool:
        parts = list(
            pool.map(
                lambda part: balanced_classes(part, ThirdOfThem(shared, barrier)),
                (scores[:50], scores[50:51], scores[51:]),
            )
        )
    np.testing.assert_array_equal(
        np.concatenate(parts), balanced_classes(scores, SerialCommunicator())
    )
