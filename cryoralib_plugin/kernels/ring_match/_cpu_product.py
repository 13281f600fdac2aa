# SPDX-License-Identifier: GPL-3.0-or-later
"""Small float32 matrix products on operands that are in the cache already.

A BLAS packs its operands before it multiplies. For products of some hundred thousand
multiplications that takes longer than the product; this one reads its operands where they lie.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from cryoralib_plugin.kernels._lanes import load, spread, store


@njit(cache=True, nogil=True)
def multiply(left, left_at, depth, right, right_at, out, out_at, rows, columns):
    """Write the product of (rows, depth) and (depth, columns) matrices in flat float32 arrays.

    The matrices are contiguous and begin at ``left_at``, ``right_at`` and ``out_at``; there are at
    least 8 columns. Four rows of sixteen columns are as many sums as keep the processor's
    multipliers busy; the last blocks overlap those before them and write the same numbers again.
    """
    width, terms = np.uintp(columns), np.uintp(depth)
    apart = np.uintp(min(8, columns - 8))
    for column in range(0, columns, 16):
        at = np.uintp(max(0, min(column, columns - 16)))
        for row in range(0, rows, 4):
            row0 = max(0, min(row, rows - 4))
            row1, row2 = min(row0 + 1, rows - 1), min(row0 + 2, rows - 1)
            row3 = min(row0 + 3, rows - 1)
            x0, x1 = np.uintp(left_at + row0 * depth), np.uintp(left_at + row1 * depth)
            x2, x3 = np.uintp(left_at + row2 * depth), np.uintp(left_at + row3 * depth)
            b = np.uintp(right_at) + at
            u0 = u1 = u2 = u3 = v0 = v1 = v2 = v3 = spread(np.float32(0.0))
            for k in range(terms):
                u, v = load(right, b), load(right, b + apart)
                b += width
                x = spread(left[x0 + k])
                u0, v0 = u0 + x * u, v0 + x * v
                x = spread(left[x1 + k])
                u1, v1 = u1 + x * u, v1 + x * v
                x = spread(left[x2 + k])
                u2, v2 = u2 + x * u, v2 + x * v
                x = spread(left[x3 + k])
                u3, v3 = u3 + x * u, v3 + x * v
            to = np.uintp(out_at) + at
            to0, to1 = to + np.uintp(row0) * width, to + np.uintp(row1) * width
            to2, to3 = to + np.uintp(row2) * width, to + np.uintp(row3) * width
            store(out, to0, u0)
            store(out, to1, u1)
            store(out, to2, u2)
            store(out, to3, u3)
            store(out, to0 + apart, v0)
            store(out, to1 + apart, v1)
            store(out, to2 + apart, v2)
            store(out, to3 + apart, v3)
