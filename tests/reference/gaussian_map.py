# SPDX-License-Identifier: GPL-3.0-or-later
"""Maps of Gaussian blobs: their projections are known in closed form, nothing is interpolated."""

from __future__ import annotations

import numpy as np


def blobs(
    box, rotations, shift_px, *, seed=4, n_blobs=60, reach_px=None, widths_px=(1.4, 2.0), fold=1
):
    """A map of Gaussians within a ball and its exact projections (conventions section 4).

    ``fold`` copies turned about z give it that symmetry.
    """
    rng = np.random.default_rng(seed)
    places = rng.normal(size=(n_blobs, 3))
    places *= (rng.random(n_blobs) ** (1 / 3) / np.linalg.norm(places, axis=1))[:, None]
    places *= reach_px or 0.3 * box
    widths = np.tile(rng.uniform(*widths_px, n_blobs), fold)
    places = np.concatenate([places @ _about_z(2 * np.pi * i / fold).T for i in range(fold)])
    axis = np.arange(box) - box // 2

    def profiles(centres):
        return np.exp(-((axis - centres[..., None]) ** 2) / (2 * widths[:, None] ** 2))

    x, y, z = (profiles(places[:, a]) for a in range(3))
    volume = np.einsum("bz,by,bx->zyx", z, y, x, optimize=True)
    images = []
    for rotation, shift in zip(rotations, shift_px):
        centre = places @ rotation  # rows R^T b
        along_x, along_y = profiles(centre[:, 0] - shift[0]), profiles(centre[:, 1] - shift[1])
        depth = widths * np.sqrt(2 * np.pi)
        images.append(np.einsum("b,by,bx->yx", depth, along_y, along_x, optimize=True))
    return volume.astype(np.float32), np.array(images, np.float32)


def _about_z(angle_rad):
    c, s = np.cos(angle_rad), np.sin(angle_rad)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
