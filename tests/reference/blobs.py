# SPDX-License-Identifier: GPL-3.0-or-later
"""Sums of Gaussians moved analytically: images whose true poses need no interpolation."""

from __future__ import annotations

import numpy as np


def blob_images(box, psi_deg, shift_px, mirror, *, seed=3, n_blobs=14, reach_px=16.0):
    """Images whose content the given poses bring onto the pose-free image of the same seed.

    A pose maps x_out = F^m R(psi) (x_in + shift); the image at x_in shows the object at x_out.
    """
    rng = np.random.default_rng(seed)
    places = rng.uniform(-reach_px, reach_px, (n_blobs, 2))
    widths, heights = rng.uniform(2.0, 4.5, n_blobs), rng.uniform(0.5, 1.5, n_blobs)
    y, x = np.mgrid[:box, :box] - box // 2
    images = []
    for psi, shift, hand in zip(np.radians(psi_deg), shift_px, mirror):
        px, py = x + shift[0], y + shift[1]
        u, v = np.cos(psi) * px - np.sin(psi) * py, np.sin(psi) * px + np.cos(psi) * py
        u = -u if hand else u
        images.append(
            sum(
                h * np.exp(-((u - a) ** 2 + (v - b) ** 2) / (2 * w * w))
                for (a, b), w, h in zip(places, widths, heights)
            )
        )
    return np.array(images, dtype=np.float32)


def angle_difference_deg(a, b):
    """Smallest difference of two angles, degrees."""
    return np.abs((np.asarray(a) - np.asarray(b) + 180.0) % 360.0 - 180.0)
