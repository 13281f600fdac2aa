# SPDX-License-Identifier: GPL-3.0-or-later
"""Slow float64 truth of the image transform, written from its equation, one pixel after another."""

from __future__ import annotations

import math

import numpy as np


def quadratic(image: np.ndarray, x: float, y: float) -> float:
    """SPARX's six-point polynomial at 0 <= x, y < N; neighbours wrap around."""
    box = len(image)
    i, j = math.floor(x), math.floor(y)
    u, v = x - i, y - j

    def f(di: int, dj: int) -> float:
        return float(image[(j + dj) % box, (i + di) % box])

    c1 = f(1, 0) - f(0, 0)
    c2 = (f(1, 0) - 2 * f(0, 0) + f(-1, 0)) / 2
    c3 = f(0, 1) - f(0, 0)
    c4 = (f(0, 1) - 2 * f(0, 0) + f(0, -1)) / 2
    c5 = f(1, 1) - f(0, 0) - c1 - c3
    return f(0, 0) + u * (c1 + (u - 1) * c2 + v * c5) + v * (c3 + (v - 1) * c4)


def transform_image(
    image: np.ndarray, psi_deg: float, shift_px: tuple[float, float], mirror: bool
) -> np.ndarray:
    """Move one image by ``x_out = F^m R(psi) (x_in + shift)``: unmirrored first, then mirrored."""
    box, centre = len(image), len(image) // 2
    cosine, sine = math.cos(math.radians(psi_deg)), math.sin(math.radians(psi_deg))
    moved = np.empty((box, box))
    for row in range(box):
        for column in range(box):
            dx, dy = column - centre, row - centre
            x = cosine * dx + sine * dy - shift_px[0] + centre
            y = -sine * dx + cosine * dy - shift_px[1] + centre
            inside = 0 <= x < box and 0 <= y < box
            moved[row, column] = quadratic(image, x, y) if inside else image[row, column]
    if not mirror:
        return moved
    first = 1 - box % 2
    moved[:, first:] = moved[:, first:][:, ::-1].copy()
    return moved
