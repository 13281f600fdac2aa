# SPDX-License-Identifier: GPL-3.0-or-later
"""CPU twin of the image transform; see the package."""

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange

# How far inside the frame a row's fast stretch begins: more than rounding can bridge.
_MARGIN_PX = 1e-6


def transform_images(images: np.ndarray, poses: np.ndarray) -> np.ndarray:
    """Return the images moved by rows of ``pose_rows``; see the package."""
    images = np.ascontiguousarray(images)
    transformed = np.empty_like(images)
    _transform_all(flat_pixels(images), poses, flat_pixels(transformed))
    return transformed


def flat_pixels(images: np.ndarray) -> np.ndarray:
    """Return (n, N * N), a view in which one index finds a pixel."""
    return images.reshape(images.shape[0], images.shape[1] * images.shape[2])


@njit(cache=True, parallel=True)
def _transform_all(pixels, poses, transformed):
    n_images = pixels.shape[0]
    box = int(math.sqrt(pixels.shape[1]) + 0.5)
    for image in prange(n_images):
        places, stretch = np.empty(box, np.int32), np.empty((8, box), np.float32)
        source, pose, target = pixels[image], poses[image], transformed[image]
        for row in range(box):
            transform_row(source, pose, row, target, row * box, places, stretch)


@njit(cache=True, error_model="numpy")
def transform_row(pixels, pose, row, transformed, base, places, stretch):
    """Write one row of a transformed image into ``transformed[base:]``.

    The row's stretch that needs neither wrapping nor background goes in three passes
    (positions, gathering, polynomial), of which the first and the last become vector code.
    """
    box = places.shape[0]
    centre = box // 2
    cosine, sine = pose[0], pose[1]
    x_row = sine * (row - centre) - pose[2] + centre
    y_row = cosine * (row - centre) - pose[3] + centre
    first, last = _inner_columns(x_row - cosine * centre, cosine, box, 0, box)
    first, last = _inner_columns(y_row + sine * centre, -sine, box, first, last)
    half, one = np.float32(0.5), np.float32(1.0)

    for k in range(last - first):
        dx = np.float64(np.int32(k + first - centre))
        x = x_row + cosine * dx
        y = y_row - sine * dx
        i, j = np.int32(x), np.int32(y)
        stretch[6, k] = np.float32(x - i)
        stretch[7, k] = np.float32(y - j)
        places[k] = np.int32(j * np.int32(box) + i)
    for k in range(last - first):
        # Unsigned indices spare Numba's test for negative ones.
        here = np.uint64(places[k])
        below = here + np.uint64(box)
        stretch[0, k] = pixels[here]
        stretch[1, k] = pixels[here + np.uint64(1)]
        stretch[2, k] = pixels[here - np.uint64(1)]
        stretch[3, k] = pixels[below]
        stretch[4, k] = pixels[here - np.uint64(box)]
        stretch[5, k] = pixels[below + np.uint64(1)]
    for k in range(last - first):
        u, v = stretch[6, k], stretch[7, k]
        f0 = stretch[0, k]
        c1 = stretch[1, k] - f0
        c2 = (c1 - f0 + stretch[2, k]) * half
        c3 = stretch[3, k] - f0
        c4 = (c3 - f0 + stretch[4, k]) * half
        c5 = stretch[5, k] - f0 - c1 - c3
        transformed[base + first + k] = (
            f0 + u * (c1 + (u - one) * c2 + v * c5) + v * (c3 + (v - one) * c4)
        )
    for column in range(first):
        dx = column - centre
        transformed[base + column] = _border_pixel(
            pixels, box, row * box + column, x_row + cosine * dx, y_row - sine * dx
        )
    for column in range(last, box):
        dx = column - centre
        transformed[base + column] = _border_pixel(
            pixels, box, row * box + column, x_row + cosine * dx, y_row - sine * dx
        )
    if pose[4] != 0.0:
        left = base + 1 - box % 2
        right = base + box - 1
        while left < right:
            transformed[left], transformed[right] = transformed[right], transformed[left]
            left += 1
            right -= 1


@njit(cache=True, error_model="numpy")
def _inner_columns(start, step, box, first, last):
    """Return the part of columns first..last where start + step * column has all neighbours."""
    low, high = 1.0 + _MARGIN_PX, box - 1.0 - _MARGIN_PX
    if step > _MARGIN_PX / box:
        begin, end = math.ceil((low - start) / step), math.ceil((high - start) / step)
    elif step < -_MARGIN_PX / box:
        begin, end = (
            math.floor((high - start) / step) + 1,
            math.floor((low - start) / step) + 1,
        )
    elif low + _MARGIN_PX <= start < high - _MARGIN_PX:
        begin, end = first, last
    else:
        begin, end = first, first
    begin = min(max(first, int(begin)), last)
    return begin, max(begin, min(last, int(end)))


@njit(cache=True, error_model="numpy")
def _border_pixel(pixels, box, place, x, y):
    """Return the value at x, y with neighbours wrapped, or the pixel at ``place`` outside."""
    if x < 0.0 or x >= box or y < 0.0 or y >= box:
        return pixels[place]
    half, one = np.float32(0.5), np.float32(1.0)
    i, j = int(x), int(y)
    u, v = np.float32(x - i), np.float32(y - j)
    right = i + 1 if i + 1 < box else 0
    left = i - 1 if i > 0 else box - 1
    below = (j + 1 if j + 1 < box else 0) * box
    above = (j - 1 if j > 0 else box - 1) * box
    f0 = pixels[j * box + i]
    c1 = pixels[j * box + right] - f0
    c2 = (c1 - f0 + pixels[j * box + left]) * half
    c3 = pixels[below + i] - f0
    c4 = (c3 - f0 + pixels[above + i]) * half
    c5 = pixels[below + right] - f0 - c1 - c3
    return f0 + u * (c1 + (u - one) * c2 + v * c5) + v * (c3 + (v - one) * c4)
