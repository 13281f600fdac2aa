// SPDX-License-Identifier: GPL-3.0-or-later
#include "common.cuh"
#include "grid_cell.cuh"

__device__ inline float2 between(const float* __restrict__ values, float gx, float fx) {
    return make_float2(values[0] * gx + values[2] * fx, values[1] * gx + values[3] * fx);
}

// One thread for each term of each slice. values and slices: pairs of real and imaginary parts.
__global__ void project(
    const float* __restrict__ values, const float* __restrict__ rotations,
    const float* __restrict__ kx, const float* __restrict__ ky, float* __restrict__ slices,
    long long n_slices, int n_terms, int extent) {
    const long long i = global_thread();
    if (i >= n_slices * n_terms) return;
    const long long slice = i / n_terms;
    const int k = static_cast<int>(i - slice * n_terms);
    const GridCell cell = cell_of(rotations + 9 * slice, kx[k], ky[k], extent);
    float real = 0.0f, imag = 0.0f;
    if (cell.inside) {
        const long long line = 2LL * (extent + 1), plane = line * (2 * extent + 1);
        const float* corner = values + 2 * corner_of(cell, extent);
        const float fx = cell.fx, fy = cell.fy, fz = cell.fz;
        const float gx = 1.0f - fx, gy = 1.0f - fy, gz = 1.0f - fz;
        const float2 a = between(corner, gx, fx), b = between(corner + line, gx, fx);
        const float2 c = between(corner + plane, gx, fx);
        const float2 d = between(corner + plane + line, gx, fx);
        real = (a.x * gy + b.x * fy) * gz + (c.x * gy + d.x * fy) * fz;
        imag = (a.y * gy + b.y * fy) * gz + (c.y * gy + d.y * fy) * fz;
    }
    slices[2 * i] = real;
    slices[2 * i + 1] = cell.sign * imag;
}
