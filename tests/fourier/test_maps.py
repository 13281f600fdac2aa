# SPDX-License-Identifier: GPL-3.0-or-later
"""Maps made of Gaussians, whose transforms are known, through transforms, boxes and voxels."""

from __future__ import annotations

import numpy as np
import pytest

from cryoralib_plugin.fourier.maps import (
    backward_centred,
    forward_centred,
    resample_volume,
    resize_box,
)

CENTRES = np.array([[0.0, 0.0, 0.0], [3.25, -2.0, 1.5], [-4.0, 1.0, 5.0]])
"""x, y, z in px of the coarse box."""


def gaussians(box: int, sigma: float = 1.6, scale: float = 1.0) -> np.ndarray:
    """Return blobs of integral 1 as (N, N, N), all lengths times ``scale``."""
    axis = np.arange(box) - box // 2
    volume = np.zeros((box, box, box))
    for x, y, z in CENTRES * scale:
        along = [np.exp(-0.5 * ((axis - c) / (sigma * scale)) ** 2) for c in (z, y, x)]
        volume += np.einsum("i,j,k->ijk", *along)
    return volume / (2 * np.pi * (sigma * scale) ** 2) ** 1.5


def transform(kx, ky, kz, box: int, sigma: float = 1.6) -> np.ndarray:
    """Return the transform of `gaussians` at frequencies in Fourier pixels."""
    waves = sum(np.exp(-2j * np.pi * (kx * x + ky * y + kz * z) / box) for x, y, z in CENTRES)
    return np.exp(-2 * (np.pi * sigma / box) ** 2 * (kx**2 + ky**2 + kz**2)) * waves


@pytest.mark.parametrize("box", [32, 33])
def test_the_centred_transform_is_that_of_the_equation(xp, box):
    found = forward_centred(xp.asarray(gaussians(box)))
    k = np.rint(np.fft.fftfreq(box) * box)
    expected = transform(k[: box // 2 + 1], k[:, None], k[:, None, None], box)
    if box % 2 == 0:
        # The last column stands for both signs of Nyquist.
        found, expected = found[..., :-1], expected[..., :-1]
    np.testing.assert_allclose(np.asarray(found.tolist()), expected, atol=1e-4)


@pytest.mark.parametrize("shape, dimensions", [((2, 8, 8, 8), 3), ((3, 9, 9), 2)])
def test_transforms_return_and_keep_single_precision(shape, dimensions):
    array = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    spectra = forward_centred(array, dimensions)
    assert spectra.dtype == np.complex64
    again = backward_centred(spectra, shape[-1], dimensions)
    np.testing.assert_allclose(again, array, atol=1e-5)


@pytest.mark.parametrize("box", [16, 17])
@pytest.mark.parametrize("new", [10, 11, 24, 25])
def test_the_centre_stays_when_a_box_is_cropped_or_padded(box, new):
    volume = np.zeros((box,) * 3)
    volume[box // 2 + 1, box // 2 - 2, box // 2 + 3] = 1.0
    resized = resize_box(volume, new)
    assert resized.shape == (new,) * 3 and resized.sum() == 1.0
    assert resized[new // 2 + 1, new // 2 - 2, new // 2 + 3] == 1.0


@pytest.mark.parametrize("box, new", [(32, 48), (33, 48), (48, 31), (48, 32)])
def test_resampling_gives_the_map_on_the_other_voxels(box, new):
    smallest = min(box, new)
    volume = gaussians(box, scale=box / smallest)
    expected = gaussians(new, scale=new / smallest)
    # gaussians() keeps the integral; resampling keeps the grey values.
    found = resample_volume(volume, new) * (box / new) ** 3
    np.testing.assert_allclose(found, expected, atol=2e-4 * expected.max())


def test_what_is_no_map_is_refused():
    with pytest.raises(ValueError, match="a map must be a cube.*\\(4, 4, 5\\)"):
        resize_box(np.zeros((4, 4, 5)), 8)
    with pytest.raises(ValueError, match="at least 1 px, but it is 0 px"):
        resize_box(np.zeros((4, 4, 4)), 0)
    with pytest.raises(ValueError, match="at least 2 px, but it is 1 px"):
        resample_volume(np.zeros((4, 4, 4)), 1)
