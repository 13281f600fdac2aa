# SPDX-License-Identifier: GPL-3.0-or-later
"""Class sums: right, and the same to the bit whatever the order of particles."""

from __future__ import annotations

from dataclasses import fields
from importlib import import_module

import numba
import numpy as np
import pytest

from cryoralib_plugin.geometry.rigid2d import Poses2D
from cryoralib_plugin.kernels import class_sums
from cryoralib_plugin.kernels.class_sums import ClassSums, accumulate, cpu
from cryoralib_plugin.kernels.device import OutOfMemory
from cryoralib_plugin.kernels.transform2d import transform_images
from cryoralib_plugin.optics.ctf import CtfParameters, ctf_2d
from tests.reference.transform2d import transform_image

BOX = 18
N_CLASSES = 4


def _particles(n: int = 40):
    rng = np.random.default_rng(7)
    images = rng.normal(size=(n, BOX, BOX)).astype(np.float32)
    poses = Poses2D(rng.uniform(0, 360, n), rng.uniform(-3, 3, (n, 2)), rng.random(n) < 0.5)
    reference = rng.integers(-1, N_CLASSES - 1, n)  # the last class stays empty
    return images, poses, reference, np.arange(n) % 2


def _optics(n: int = 40) -> CtfParameters:
    rng = np.random.default_rng(8)
    same = np.ones(n)
    return CtfParameters(
        rng.uniform(1e4, 2e4, n),
        rng.uniform(8e3, 1e4, n),
        rng.uniform(0, 180, n),
        300.0 * same,
        2.7 * same,
        0.1 * same,
        0.0 * same,
    )


def _summed(backend, images, poses, reference, half, batches=None, **optics) -> ClassSums:
    sums = ClassSums.zeros(N_CLASSES, BOX, backend.device, with_ctf=bool(optics))
    ctf = optics.pop("ctf", None)
    for rows in batches if batches is not None else [np.arange(len(images))]:
        accumulate(
            sums,
            backend.put(images[rows]),
            poses[rows],
            reference[rows],
            half[rows],
            ctf=None if ctf is None else ctf[rows],
            **optics,
        )
    return backend.get(sums)


def _assert_equal(one: ClassSums, other: ClassSums) -> None:
    for field in fields(ClassSums):
        np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name))


def test_averages_are_means_of_moved_members(backend):
    images, poses, reference, half = _particles()
    sums = _summed(backend, images, poses, reference, half)
    moved = np.array(
        [
            transform_image(image, *pose)
            for image, pose in zip(images, zip(poses.psi_deg, poses.shift_px, poses.mirror))
        ]
    )
    for number in range(N_CLASSES - 1):
        members = reference == number
        np.testing.assert_allclose(sums.averages()[number], moved[members].mean(0), atol=3e-5)
        for side in (0, 1):
            part = members & (half == side)
            assert sums.counts[number, side] == part.sum()
            np.testing.assert_allclose(
                sums.half_averages()[number, side], moved[part].mean(0), atol=3e-5
            )
            np.testing.assert_allclose(
                sums.image_sums()[number, side], moved[part].sum(0), atol=3e-4
            )
    assert sums.counts.sum() == (reference >= 0).sum()
    assert not sums.images[-1].any() and not sums.averages()[-1].any()


def test_order_and_batches_do_not_change_a_bit(backend):
    images, poses, reference, half = _particles()
    optics = {"ctf": _optics(), "pixel_size_angst": 3.0}
    whole = _summed(backend, images, poses, reference, half, **optics)
    shuffled = np.random.default_rng(0).permutation(len(images))
    for size in (1, 7, 33):
        batches = [shuffled[i : i + size] for i in range(0, len(images), size)]
        _assert_equal(whole, _summed(backend, images, poses, reference, half, batches, **optics))


class Scarce:
    """Takes the place of a step of the class sums; has room for three particles at a time."""

    def __init__(self, step, size_of):
        self._step, self._size_of, self.refused = step, size_of, []

    def __call__(self, *given):
        if self._size_of(given) > 3:
            self.refused.append(self._size_of(given))
            raise OutOfMemory("no room")
        return self._step(*given)


def test_members_that_do_not_fit_are_added_by_halves_to_the_same_bits(backend, monkeypatch, caplog):
    images, poses, reference, half = _particles()
    optics = {"ctf": _optics(), "pixel_size_angst": 3.0}
    whole = _summed(backend, images, poses, reference, half, **optics)
    twin = import_module(f"{class_sums.__name__}.{'cpu' if backend.name == 'cpu' else 'cuda'}")
    add_images = Scarce(twin.add_images, lambda given: len(given[3]))
    transfer = Scarce(class_sums.ctf_2d, lambda given: len(given[0].defocus_u_angst))
    monkeypatch.setattr(twin, "add_images", add_images)
    monkeypatch.setattr(class_sums, "ctf_2d", transfer)
    with caplog.at_level("INFO", logger="cryoralib_plugin"):
        parts = _summed(backend, images, poses, reference, half, **optics)
    assert add_images.refused and transfer.refused
    assert "adding 3 particles at a time" in caplog.text
    _assert_equal(whole, parts)


def test_no_room_for_one_member_is_said(backend, monkeypatch):
    images, poses, reference, half = _particles(5)

    def full(*given):
        raise MemoryError("full")

    monkeypatch.setattr(class_sums, "ctf_2d", full)
    with pytest.raises(OutOfMemory, match="a single particle to its class: full"):
        _summed(backend, images, poses, reference, half, ctf=_optics(5), pixel_size_angst=3.0)


def test_ranks_add_to_the_same_bits(backend):
    images, poses, reference, half = _particles()
    whole = _summed(backend, images, poses, reference, half)
    parts = [
        _summed(backend, images, poses, reference, half, [np.arange(rank, len(images), 3)])
        for rank in range(3)
    ]
    added = ClassSums(
        *(sum(getattr(part, field.name) for part in parts) for field in fields(ClassSums))
    )
    _assert_equal(whole, added)


@pytest.mark.skipif(numba.config.NUMBA_NUM_THREADS < 2, reason="one thread only")
def test_threads_do_not_change_a_bit():
    images, poses, reference, half = _particles()
    sums = np.zeros((2, 2 * N_CLASSES, BOX, BOX), np.int64)
    order, slots = np.flatnonzero(reference >= 0), (2 * reference + half)[reference >= 0]
    from cryoralib_plugin.kernels.transform2d import pose_rows

    before = numba.get_num_threads()
    try:
        for threads in (1, 2):
            numba.set_num_threads(threads)
            assert cpu.add_images(sums[threads - 1], images, pose_rows(poses), order, slots)
    finally:
        numba.set_num_threads(before)
    np.testing.assert_array_equal(sums[0], sums[1])


def test_twins_agree_to_the_bit(cuda_on_host):
    images, poses, reference, half = _particles(70)
    moved = transform_images(images, poses)
    sums = _summed(cuda_on_host, images, poses, reference, half)
    for number in range(N_CLASSES):
        members = moved[reference == number].astype(np.float64)
        expected = np.rint(members * 2.0**30).astype(np.int64).sum(axis=0)
        np.testing.assert_array_equal(sums.images[number].sum(axis=0), expected)


@pytest.mark.parametrize("mirror", [False, True])
def test_ctf_turns_with_its_particle(backend, mirror):
    # A quarter turn permutes the frequencies of the half spectrum's square part.
    ctf = _optics(1)
    image, reference, half = np.zeros((1, BOX, BOX), np.float32), np.array([1]), np.array([0])
    pose = Poses2D(np.array([90.0]), np.zeros((1, 2)), np.array([mirror]))
    sums = _summed(backend, image, pose, reference, half, ctf=ctf, pixel_size_angst=3.0)
    power = sums.ctf_power_sums()[1, 0]
    original = ctf_2d(ctf, BOX, 3.0)[0].astype(np.float64) ** 2
    for ky in range(-8, 9):
        for kx in range(9):
            # x_out = F^m R(90) x_in, so x_in = R(-90) F^m x_out; (kx, ky) -> (ky, -kx).
            x, y = ky, -(-kx if mirror else kx)
            expected = original[y, x] if x >= 0 else original[-y, -x]
            assert power[ky, kx] == pytest.approx(expected, abs=2e-4)
    assert not sums.ctf_power_sums()[0].any()


def test_bad_arguments_are_named(backend):
    images, poses, reference, half = _particles(5)
    sums = ClassSums.zeros(2, BOX, backend.device)
    there = backend.put(images)
    with pytest.raises(ValueError, match="numbered 0 to 1, but one reference is 2"):
        accumulate(sums, there, poses, np.array([0, 1, 2, 0, 0]), half)
    with pytest.raises(ValueError, match="half sets are 0 and 1"):
        accumulate(sums, there, poses, np.zeros(5, int), half + 1)
    with pytest.raises(ValueError, match=r"reference must have one entry.*\(4,\)"):
        accumulate(sums, there, poses, np.zeros(4, int), half)
    with pytest.raises(ValueError, match="box of 16 px.*18 px"):
        accumulate(sums, backend.put(images[:, :16, :16].copy()), poses, np.zeros(5, int), half)
    with pytest.raises(ValueError, match="give ctf and pixel_size_angst"):
        with_ctf = ClassSums.zeros(2, BOX, backend.device, with_ctf=True)
        accumulate(with_ctf, there, poses, np.zeros(5, int), half)
    if backend.name != "cpu":
        with pytest.raises(TypeError, match="images on cpu, sums on cuda"):
            accumulate(sums, images, poses, np.zeros(5, int), half)


@pytest.mark.parametrize("value", [np.nan, np.inf, -1e6])
def test_unsound_pixels_are_refused(backend, value):
    images, poses, reference, half = _particles(5)
    images[3, BOX // 2, BOX // 2] = value
    sums = ClassSums.zeros(2, BOX, backend.device)
    with pytest.raises(ValueError, match="not finite or beyond 65536"):
        accumulate(sums, backend.put(images), poses, np.zeros(5, int), half)


def test_nothing_to_add(backend):
    images, poses, _, half = _particles(3)
    sums = _summed(backend, images, poses, np.full(3, -1), half)
    assert not sums.images.any() and not sums.counts.any()
