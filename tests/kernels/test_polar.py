# SPDX-License-Identifier: GPL-3.0-or-later
"""Polar resampling, on every backend."""

from __future__ import annotations

import numpy as np
import pytest

from cryoralib_plugin.geometry.rings import RingLayout
from cryoralib_plugin.kernels.polar import cpu, resample_polar
from tests.reference import ring_match as reference

RINGS = RingLayout.from_radii(1, 12)


@pytest.mark.parametrize("box", [32, 33])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_agrees_with_the_slow_reference(backend, box, dtype):
    rng = np.random.default_rng(box)
    images = rng.normal(size=(3, box, box)).astype(dtype)
    shifts = rng.uniform(-2, 2, (3, 2))
    found = backend.get(resample_polar(backend.put(images), backend.put(shifts), RINGS))
    for image, shift, samples in zip(images.astype(float), shifts, found):
        centre = box // 2 - shift
        truth = np.concatenate(reference.resample_polar(image, centre[0], centre[1], RINGS))
        np.testing.assert_allclose(samples, truth, atol=1e-5 if dtype is np.float32 else 1e-12)


def test_is_exact_on_a_plane(backend):
    y, x = np.mgrid[:40, :40].astype(np.float64)
    plane = (0.5 * x - 0.25 * y + 3.0)[None]
    shift = np.array([[1.25, -2.5]])
    samples = backend.get(resample_polar(backend.put(plane), backend.put(shift), RINGS))[0]
    positions = cpu.sample_positions(RINGS) + 20 - np.transpose(shift)
    expected = 0.5 * positions[0] - 0.25 * positions[1] + 3.0
    np.testing.assert_allclose(samples, expected, atol=1e-12)


def test_compiled_loop_equals_its_source():
    rng = np.random.default_rng(0)
    image, positions = rng.normal(size=(30, 30)), cpu.sample_positions(RINGS)
    compiled, plain = np.empty(positions.shape[1]), np.empty(positions.shape[1])
    cpu.sample_image(image, 14.2, 15.7, positions, compiled)
    cpu.sample_image.py_func(image, 14.2, 15.7, positions, plain)
    np.testing.assert_array_equal(compiled, plain)


def test_refuses_what_is_not_a_stack_of_squares():
    with pytest.raises(ValueError, match=r"\(n, N, N\), but have \(2, 8, 9\)"):
        resample_polar(np.zeros((2, 8, 9)), np.zeros((2, 2)), RINGS)
    with pytest.raises(ValueError, match=r"shift_px must have shape \(2, 2\), but has \(3, 2\)"):
        resample_polar(np.zeros((2, 8, 8)), np.zeros((3, 2)), RINGS)
