// SPDX-License-Identifier: GPL-3.0-or-later
#include "common.cuh"
#include "grid_cell.cuh"

// The weighted sum of the first values of four rows.
__device__ inline float four_rows(
    const float* __restrict__ values, long long line, long long plane, const float* weights) {
    return values[0] * weights[0] + values[line] * weights[1] + values[plane] * weights[2] +
           values[plane + line] * weights[3];
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
        const float weights[4] = {gy * gz, fy * gz, gy * fz, fy * fz};
        real = four_rows(corner, line, plane, weights) * gx +
               four_rows(corner + 2, line, plane, weights) * fx;
        imag = four_rows(corner + 1, line, plane, weights) * gx +
               four_rows(corner + 3, line, plane, weights) * fx;
    }
    slices[2 * i] = real;
    slices[2 * i + 1] = cell.sign * imag;
}
