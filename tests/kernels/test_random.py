# SPDX-License-Identifier: GPL-3.0-or-later
"""Philox4x32-10: Random123's known answers, independence of everything but the key, statistics."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cryoralib_plugin.kernels.random import cpu, normal, uniform, words

KNOWN_ANSWERS = [  # Random123, kat_vectors: counter, key, answer
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("counter, key, answer", KNOWN_ANSWERS)
def test_known_answers_of_random123(compiled, counter, key, answer):
    philox = cpu._philox if compiled else cpu._philox.py_func
    arguments = [np.uint64(value) for value in (*counter, *key)]
    assert tuple(int(word) for word in philox(*arguments)) == answer


def test_the_counter_is_laid_out_as_documented(backend):
    # Zero everywhere is the first known answer; the fifth word opens the next block.
    ids = backend.put(np.array([0, 2**32 + 7]))
    drawn = backend.get(words(0, 0, 0, ids, 6))
    assert tuple(drawn[0, :4]) == KNOWN_ANSWERS[0][2]
    block = cpu._philox.py_func(*(np.uint64(value) for value in (1, 7, 1, 3 << 8 | 5, 11, 2)))
    drawn = backend.get(words(2 << 32 | 11, 3, 5, ids, 6))
    assert tuple(drawn[1, 4:6]) == tuple(int(word) for word in block[:2])


def test_draws_do_not_depend_on_batch_or_count(backend):
    ids = backend.put(np.arange(50))
    for draw in (words, uniform, normal):
        everything = backend.get(draw(1, 2, 3, ids, 37))
        np.testing.assert_array_equal(backend.get(draw(1, 2, 3, ids[20:33], 37)), everything[20:33])
        np.testing.assert_array_equal(backend.get(draw(1, 2, 3, ids, 6)), everything[:, :6])


def test_twins_draw_the_same_words_and_nearly_the_same_normals(cuda_on_host):
    ids = np.array([0, 1, 2**40 + 3, 2**62])
    on_device = cuda_on_host.put(ids)
    for n_draws in (1, 4, 7):
        for draw in (words, uniform):
            np.testing.assert_array_equal(
                cuda_on_host.get(draw(2**63 + 5, 7, 255, on_device, n_draws)),
                draw(2**63 + 5, 7, 255, ids, n_draws),
            )
        np.testing.assert_allclose(
            cuda_on_host.get(normal(2**63 + 5, 7, 255, on_device, n_draws)),
            normal(2**63 + 5, 7, 255, ids, n_draws),
            rtol=1e-12, atol=1e-14,
        )  # fmt: skip


def test_every_part_of_the_key_changes_the_draws():
    ids = np.arange(4)
    base = words(1, 2, 3, ids, 8)
    for other in (words(2, 2, 3, ids, 8), words(1, 3, 3, ids, 8), words(1, 2, 4, ids, 8)):
        assert (base != other).mean() > 0.99
    assert len(np.unique(base)) == base.size


def test_uniform_and_normal_have_their_moments(backend):
    ids = backend.put(np.arange(400))
    u, z = backend.get(uniform(5, 0, 0, ids, 1000)), backend.get(normal(5, 0, 1, ids, 1000))
    assert u.min() > 0.0 and u.max() < 1.0
    assert u.mean() == pytest.approx(0.5, abs=4 * math.sqrt(1 / 12 / u.size))
    assert u.var() == pytest.approx(1 / 12, rel=0.01)
    assert z.mean() == pytest.approx(0.0, abs=4 / math.sqrt(z.size))
    assert z.var() == pytest.approx(1.0, abs=4 * math.sqrt(2 / z.size))
    assert (z**4).mean() == pytest.approx(3.0, abs=4 * math.sqrt(96 / z.size))
    # Neighbouring draws and neighbouring particles are uncorrelated.
    for lagged in (z[:, 1:] * z[:, :-1], z[1:] * z[:-1], z[:, ::2] * z[:, 1::2]):
        assert lagged.mean() == pytest.approx(0.0, abs=4 / math.sqrt(lagged.size))


def test_compiled_and_interpreted_draws_are_equal():
    ids, key = np.arange(3, dtype=np.uint64), np.array([9, 8, 7], dtype=np.uint64)
    drawn = cpu._blocks(ids, key, 10)
    np.testing.assert_array_equal(drawn, cpu._blocks.py_func(ids, key, 10))
    np.testing.assert_allclose(cpu._box_muller(drawn), cpu._box_muller.py_func(drawn), rtol=1e-12)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((-1, 0, 0), "seed of a random draw must be at least 0 .* but it is -1"),
        ((0, 2**24, 0), "iteration of a random draw .* below 16777216, but it is 16777216"),
        ((0, 0, 256), "phase of a random draw .* below 256"),
    ],
)
def test_keys_that_do_not_fit_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        words(*arguments, np.arange(2), 4)


def test_particle_ids_must_be_whole_and_not_negative():
    with pytest.raises(ValueError, match="one-dimensional array of integers"):
        words(0, 0, 0, np.zeros(3), 4)
    with pytest.raises(ValueError, match="must not be negative, but one is -2"):
        words(0, 0, 0, np.array([1, -2]), 4)
