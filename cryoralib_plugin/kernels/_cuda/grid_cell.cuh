// SPDX-License-Identifier: GPL-3.0-or-later
// Cells of the hermitian half of a centred Fourier grid: indices -m .. m in z and y, 0 .. m in x.
#pragma once

struct GridCell {
    int column, row, layer;  // of the corner, counted from the corner of the grid
    float fx, fy, fz;        // place within the cell
    float sign;              // -1 where the mate at -k stands in and is to be conjugated
    bool inside;
};

__device__ inline GridCell cell_of(
    const float* __restrict__ rotation, float kx, float ky, int extent) {
    float x = rotation[0] * kx + rotation[1] * ky;
    float y = rotation[3] * kx + rotation[4] * ky;
    float z = rotation[6] * kx + rotation[7] * ky;
    GridCell cell;
    cell.sign = 1.0f;
    if (x < 0.0f) {
        x = -x, y = -y, z = -z;
        cell.sign = -1.0f;
    }
    const float left = floorf(x), low = floorf(y), back = floorf(z);
    cell.column = static_cast<int>(left);
    cell.row = static_cast<int>(low) + extent;
    cell.layer = static_cast<int>(back) + extent;
    cell.fx = x - left;
    cell.fy = y - low;
    cell.fz = z - back;
    cell.inside = cell.column < extent && cell.row >= 0 && cell.row < 2 * extent &&
                  cell.layer >= 0 && cell.layer < 2 * extent;
    return cell;
}

__device__ inline long long corner_of(const GridCell& cell, int extent) {
    return (static_cast<long long>(cell.layer) * (2 * extent + 1) + cell.row) * (extent + 1) +
           cell.column;
}
