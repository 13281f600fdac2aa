# SPDX-License-Identifier: GPL-3.0-or-later
"""Slices read from and inserted into a whole complex cube, in float64: no half is left out."""

from __future__ import annotations

import itertools

import numpy as np


def spectrum_of_map(volume, padding, extent):
    """(2 m + 1,)^3 complex128 by definition: sum over voxels, one axis after the other."""
    box = volume.shape[0]
    axis = np.arange(box) - box // 2
    response = np.sinc(axis / (padding * box)) ** 2
    corrected = volume / (response[:, None, None] * response[:, None] * response)
    kernel = np.exp(-2j * np.pi * np.outer(np.arange(-extent, extent + 1), axis) / (padding * box))
    return np.einsum("cz,by,ax,zyx->cba", kernel, kernel, kernel, corrected, optimize=True)


def _corners(rotation, kx, ky, padding, extent):
    """The eight grid points around R (kx, ky, 0)^T and their weights, for all terms at once."""
    points = padding * (np.outer(rotation[:, 0], kx) + np.outer(rotation[:, 1], ky))
    low = np.floor(points).astype(int)
    part = points - low
    for step in itertools.product((0, 1), repeat=3):
        weight = np.prod([part[a] if step[a] else 1.0 - part[a] for a in range(3)], axis=0)
        x, y, z = (low[a] + step[a] + extent for a in range(3))
        yield (z, y, x), weight


def project(cube, rotations, kx, ky, padding):
    """(n, n_terms) complex128."""
    extent = cube.shape[0] // 2
    return np.array(
        [
            sum(
                weight * cube[place]
                for place, weight in _corners(rotation, kx, ky, padding, extent)
            )
            for rotation in rotations
        ]
    )


def backproject(shape, spectra, power, rotations, kx, ky, padding):
    """Data and weights on the whole cube; every term enters at k and, conjugated, at -k."""
    data, weights = np.zeros(shape, complex), np.zeros(shape)
    for rotation, slice_, squared in zip(rotations, spectra, power):
        for place, weight in _corners(rotation, kx, ky, padding, shape[0] // 2):
            np.add.at(data, place, weight * slice_)
            np.add.at(weights, place, weight * squared)
        mate = (kx != 0) | (ky != 0)
        for place, weight in _corners(rotation, -kx[mate], -ky[mate], padding, shape[0] // 2):
            np.add.at(data, place, weight * slice_[mate].conj())
            np.add.at(weights, place, weight * squared[mate])
    return data, weights


def random_rotations(n, seed):
    """(n, 3, 3) float64, uniform."""
    q = np.random.default_rng(seed).normal(size=(n, 4))
    w, x, y, z = (q / np.linalg.norm(q, axis=1)[:, None]).T
    return np.stack([
        np.stack([1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)], axis=-1),
        np.stack([2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)], axis=-1),
        np.stack([2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)], axis=-1),
    ], axis=-2)  # fmt: skip
