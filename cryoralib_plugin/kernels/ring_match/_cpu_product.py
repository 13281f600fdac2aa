# SPDX-License-Identifier: GPL-3.0-or-later
"""Small float32 matrix products on operands that are in the cache already.

A BLAS packs its operands before it multiplies. For products of some hundred thousand
multiplications that takes longer than the product; this one reads its operands where they lie.
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True, fastmath={"contract", "nsz"})
def multiply(left, left_at, depth, right, right_at, out, out_at, rows, columns):
    """Write the product of (rows, depth) and (depth, columns) matrices in flat float32 arrays.

    The matrices are contiguous and begin at ``left_at``, ``right_at`` and ``out_at``. Two rows
    and four terms at a time are as many operands as sixteen vector registers hold.
    """
    width = np.uintp(columns)
    one, two, three = np.uintp(1), np.uintp(2), np.uintp(3)
    for row in range(0, rows - 1, 2):
        first = np.uintp(out_at + row * columns)
        second = first + width
        x = np.uintp(left_at + row * depth)
        y = x + np.uintp(depth)
        for i in range(width):
            out[first + i] = np.float32(0.0)
            out[second + i] = np.float32(0.0)
        b = np.uintp(right_at)
        for _ in range(depth // 4):
            x0, x1, x2, x3 = left[x], left[x + one], left[x + two], left[x + three]
            y0, y1, y2, y3 = left[y], left[y + one], left[y + two], left[y + three]
            b1, b2, b3 = b + width, b + width + width, b + width + width + width
            for i in range(width):
                v0, v1, v2, v3 = right[b + i], right[b1 + i], right[b2 + i], right[b3 + i]
                out[first + i] += x0 * v0 + x1 * v1 + x2 * v2 + x3 * v3
                out[second + i] += y0 * v0 + y1 * v1 + y2 * v2 + y3 * v3
            x, y, b = x + np.uintp(4), y + np.uintp(4), b3 + width
        for _ in range(depth % 4):
            x0, y0 = left[x], left[y]
            for i in range(width):
                out[first + i] += x0 * right[b + i]
                out[second + i] += y0 * right[b + i]
            x, y, b = x + one, y + one, b + width
    if rows % 2:
        last = np.uintp(out_at + (rows - 1) * columns)
        x, b = np.uintp(left_at + (rows - 1) * depth), np.uintp(right_at)
        for i in range(width):
            out[last + i] = np.float32(0.0)
        for _ in range(depth):
            x0 = left[x]
            for i in range(width):
                out[last + i] += x0 * right[b + i]
            x, b = x + one, b + width
