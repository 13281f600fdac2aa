# SPDX-License-Identifier: GPL-3.0-or-later
"""An image moved by a pose and aligned to where it came from gives the inverse pose back."""

from __future__ import annotations

import numpy as np
import pytest

from cryoralib_plugin.geometry.rigid2d import Poses2D, inverse, pixel_error
from cryoralib_plugin.geometry.rings import RingLayout
from cryoralib_plugin.kernels.ring_match import MatchPlan, match_rings, prepare_references
from cryoralib_plugin.kernels.transform2d import transform_images


def blobs(box: int) -> np.ndarray:
    rng = np.random.default_rng(14)
    y, x = np.mgrid[:box, :box] - box // 2
    image = np.zeros((box, box))
    for _ in range(14):
        cx, cy = rng.uniform(-11, 11, 2)
        sigma, height = rng.uniform(2.0, 4.5), rng.uniform(0.4, 1.5)
        image += height * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * sigma**2))
    return image.astype(np.float32)


@pytest.mark.parametrize("box", [56, 57])
def test_alignment_returns_the_inverse_of_what_was_done(box):
    rng = np.random.default_rng(box)
    n, image = 24, blobs(box)
    done = Poses2D(rng.uniform(-180, 180, n), rng.uniform(-2, 2, (n, 2)), np.arange(n) % 2 == 1)
    moved = transform_images(np.repeat(image[None], n, axis=0), done)
    steps = np.arange(-3.0, 4.0)
    plan = MatchPlan(
        rings=RingLayout.from_radii(1, 22),
        shift_grid_px=np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2),
        mirror=True,
        normalise_rings=True,
        refine_shift=True,
    )
    references = prepare_references(image[None], plan, normalise=True)
    found = match_rings(moved, np.zeros((n, 2)), references, plan).poses
    expected = inverse(done)
    np.testing.assert_array_equal(found.mirror, expected.mirror)
    assert pixel_error(found, expected, 22).max() < 0.15
    assert np.median(pixel_error(found, expected, 22)) < 0.06
