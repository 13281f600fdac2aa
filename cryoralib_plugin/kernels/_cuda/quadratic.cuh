// SPDX-License-Identifier: GPL-3.0-or-later
// One pixel of a moved image: SPARX's six-point quadratic interpolation, with the operations of
// the CPU twin in the same order.
#pragma once

// pose: cosine and sine of psi, shift x and y in pixels, mirror as 0 or 1.
__device__ inline float moved_pixel(
    const float* __restrict__ image, int box, const double* __restrict__ pose, int row, int column) {
    const int centre = box / 2;
    if (pose[4] != 0.0) {
        column = 2 * centre - column;
        if (column == box) column = 0;
    }
    const double x = (pose[1] * (row - centre) - pose[2] + centre) + pose[0] * (column - centre);
    const double y = (pose[0] * (row - centre) - pose[3] + centre) - pose[1] * (column - centre);
    if (x < 0.0 || x >= box || y < 0.0 || y >= box) return image[row * box + column];

    const int i = static_cast<int>(x), j = static_cast<int>(y);
    const float u = static_cast<float>(x - i), v = static_cast<float>(y - j);
    const int right = i + 1 < box ? i + 1 : 0, left = i > 0 ? i - 1 : box - 1;
    const int below = (j + 1 < box ? j + 1 : 0) * box, above = (j > 0 ? j - 1 : box - 1) * box;
    const float f0 = image[j * box + i];
    const float c1 = image[j * box + right] - f0;
    const float c2 = (c1 - f0 + image[j * box + left]) * 0.5f;
    const float c3 = image[below + i] - f0;
    const float c4 = (c3 - f0 + image[above + i]) * 0.5f;
    const float c5 = image[below + right] - f0 - c1 - c3;
    return f0 + u * (c1 + (u - 1.0f) * c2 + v * c5) + v * (c3 + (v - 1.0f) * c4);
}
