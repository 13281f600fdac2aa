// SPDX-License-Identifier: GPL-3.0-or-later
// Bilinear value of an image; positions beyond the frame take the value of its nearest edge.
#pragma once

template <class Real, class Pixel>
__device__ inline Real bilinear(const Pixel* __restrict__ image, int box, Real x, Real y) {
    const Real last = static_cast<Real>(box - 1);
    x = min(max(x, Real(0)), last);
    y = min(max(y, Real(0)), last);
    const int column = min(static_cast<int>(x), box - 2);
    const int row = min(static_cast<int>(y), box - 2);
    const Real dx = x - column, dy = y - row;
    const Pixel* at = image + row * box + column;
    const Real top = at[0] * (Real(1) - dx) + at[1] * dx;
    const Real bottom = at[box] * (Real(1) - dx) + at[box + 1] * dx;
    return top * (Real(1) - dy) + bottom * dy;
}
