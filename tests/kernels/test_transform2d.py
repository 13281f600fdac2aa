# SPDX-License-Identifier: GPL-3.0-or-later
"""Rotation, shift and mirror of images, on every backend."""

from __future__ import annotations

import numpy as np
import pytest

from cryoralib_plugin.geometry.rigid2d import Poses2D, from_sparx, inverse
from cryoralib_plugin.kernels.transform2d import cpu, pose_rows, transform_images
from tests.reference.transform2d import transform_image


def _poses(psi_deg, shift_px, mirror) -> Poses2D:
    return Poses2D(
        np.asarray(psi_deg, np.float64), np.asarray(shift_px, np.float64), np.asarray(mirror, bool)
    )


def _random_case(n: int, box: int, largest_shift_px: float):
    rng = np.random.default_rng(box)
    images = rng.normal(size=(n, box, box)).astype(np.float32)
    shifts = rng.uniform(-largest_shift_px, largest_shift_px, (n, 2))
    return images, _poses(rng.uniform(-400, 400, n), shifts, np.arange(n) % 2)


def _blobs(box: int, poses: Poses2D) -> np.ndarray:
    """A sum of Gaussians moved analytically: no interpolation in the truth."""
    rng = np.random.default_rng(3)
    places, widths = rng.uniform(-0.18, 0.18, (14, 2)) * box, rng.uniform(3.0, 4.5, 14)
    heights = rng.uniform(0.5, 1.5, 14)
    axis = np.arange(box) - box // 2
    moved = []
    for psi_deg, shift, mirror in zip(poses.psi_deg, poses.shift_px, poses.mirror):
        psi = np.radians(psi_deg)
        x, y = (places + shift).T
        x, y = np.cos(psi) * x - np.sin(psi) * y, np.sin(psi) * x + np.cos(psi) * y
        x = -x if mirror else x
        moved.append(
            sum(
                h * np.exp(-((axis[None] - a) ** 2 + (axis[:, None] - b) ** 2) / (2 * w * w))
                for h, a, b, w in zip(heights, x, y, widths)
            )
        )
    return np.array(moved, dtype=np.float32)


@pytest.mark.parametrize("box", [12, 15, 33])
def test_equals_the_slow_reference(backend, box):
    images, poses = _random_case(8, box, 4.0)
    moved = backend.get(transform_images(backend.put(images), poses))
    slow = [
        transform_image(image, *pose)
        for image, pose in zip(images, zip(poses.psi_deg, poses.shift_px, poses.mirror))
    ]
    np.testing.assert_allclose(moved, slow, rtol=0, atol=2e-5)


@pytest.mark.parametrize("box", [64, 65])
def test_content_goes_where_the_pose_says(backend, box):
    poses = _poses(
        [0, 30, 30, 200, 77.7],
        [(0, 0), (2.5, -1), (2.5, -1), (0, 3.2), (1, 1)],
        [False, False, True, True, False],
    )
    resting = _blobs(box, Poses2D.identity(5))
    moved = backend.get(transform_images(backend.put(resting), poses))
    inner = slice(8, box - 8)
    np.testing.assert_allclose(
        moved[:, inner, inner], _blobs(box, poses)[:, inner, inner], atol=0.02
    )


def test_inverse_pose_brings_the_content_back(backend):
    _, poses = _random_case(6, 64, 3.0)
    resting = _blobs(64, Poses2D.identity(6))
    moved = transform_images(backend.put(resting), poses)
    returned = backend.get(transform_images(moved, inverse(poses)))
    np.testing.assert_allclose(returned[:, 12:-12, 12:-12], resting[:, 12:-12, 12:-12], atol=0.03)


def test_quarter_turns_of_an_odd_box_permute_pixels(backend):
    image = np.random.default_rng(0).normal(size=(1, 21, 21)).astype(np.float32)
    for turns in (-1, 0, 1, 2, 3, 4):
        pose = _poses([90.0 * turns], [(0, 0)], [False])
        moved = backend.get(transform_images(backend.put(image), pose))[0]
        # Rows grow downwards, so psi turns +x towards +y: rot90 the other way round.
        np.testing.assert_array_equal(moved, np.rot90(image[0], -turns))


@pytest.mark.parametrize(("box", "first"), [(8, 1), (9, 0)])
def test_mirror_keeps_the_column_without_a_partner(backend, box, first):
    image = np.random.default_rng(1).normal(size=(1, box, box)).astype(np.float32)
    moved = backend.get(transform_images(backend.put(image), _poses([0.0], [(0, 0)], [True])))[0]
    np.testing.assert_array_equal(moved[:, first:], image[0][:, first:][:, ::-1])
    np.testing.assert_array_equal(moved[:, :first], image[0][:, :first])


def test_whole_pixel_shift_moves_pixels_and_keeps_the_background(backend):
    image = np.random.default_rng(2).normal(size=(1, 10, 10)).astype(np.float32)
    pose = _poses([0.0], [(2, -3)], [False])
    moved = backend.get(transform_images(backend.put(image), pose))[0]
    np.testing.assert_array_equal(moved[:7, 2:], image[0, 3:, :8])
    np.testing.assert_array_equal(moved[7:], image[0, 7:])
    np.testing.assert_array_equal(moved[:, :2], image[0, :, :2])


def test_sparx_numbers(backend, shared_data):
    stages = np.load(shared_data / "oracle" / "sparx_intermediates.npz")
    alpha, x, y, mirror = stages["rot_shift2D_params"].T
    poses = from_sparx(alpha, np.stack([x, y], axis=1), mirror > 0.5)
    moved = backend.get(transform_images(backend.put(stages["img_norm"]), poses))
    np.testing.assert_allclose(moved, stages["rot_shift2D"], rtol=0, atol=1e-4)


def test_twins_agree_to_the_bit(cuda_on_host):
    images, poses = _random_case(9, 30, 5.0)
    device = cuda_on_host.get(transform_images(cuda_on_host.put(images), poses))
    np.testing.assert_array_equal(device, transform_images(images, poses))


def test_compiled_code_equals_its_python_text():
    images, poses = _random_case(1, 14, 3.0)
    row = np.empty(14, np.float32)
    compiled = transform_images(images, poses)[0]
    work = np.empty(14, np.int32), np.empty((8, 14), np.float32)
    for number in range(14):
        with np.errstate(over="ignore"):
            cpu.transform_row.py_func(
                images.reshape(14 * 14), pose_rows(poses)[0], number, row, 0, *work
            )
        np.testing.assert_allclose(row, compiled[number], atol=1e-6)


def test_far_shifts_leave_the_background(backend):
    images, _ = _random_case(1, 16, 0.0)
    for shift in ((40.0, 0.0), (0.0, -40.0), (17.0, 17.0)):
        pose = _poses([10.0], [shift], [False])
        moved = backend.get(transform_images(backend.put(images), pose))
        np.testing.assert_array_equal(moved, images)


def test_bad_arguments_are_named(backend):
    images, poses = _random_case(3, 8, 1.0)
    with pytest.raises(ValueError, match=r"square.*\(3, 8, 7\)"):
        transform_images(backend.put(images[:, :, :7]), poses)
    with pytest.raises(ValueError, match="each of the 2 images.*3 poses"):
        transform_images(backend.put(images[:2]), poses)
    with pytest.raises(TypeError, match="float32.*float64"):
        transform_images(backend.put(images.astype(np.float64)), poses)
    if backend.name != "cpu":
        with pytest.raises(TypeError, match="must live on the host"):
            transform_images(backend.put(images), backend.put(poses))
