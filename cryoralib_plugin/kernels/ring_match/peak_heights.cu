// SPDX-License-Identifier: GPL-3.0-or-later
#include "common.cuh"
#include "fft.cuh"
#include "hands.cuh"

// Highest correlation over all angles, for both hands of COLUMNS columns with one reference: the
// inverse transform ends in registers and only its maximum is written.
//
// products (n_harmonics, 2 n_references, 2 n_columns): rows are real and imaginary parts of each
// reference, columns real parts and then imaginary parts of the particles' spectra.
// heights (n_references, 2, n_columns). blockIdx.x: a group of columns, blockIdx.y: a reference.
template <int LENGTH, int COLUMNS>
__global__ void __launch_bounds__(COLUMNS* LENGTH / 4) peak_heights(
    const float* __restrict__ products, const float2* __restrict__ turns,
    float* __restrict__ heights, long long n_columns, int n_harmonics, int n_references) {
    __shared__ float2 room[COLUMNS * Transform<LENGTH>::STRIDE];
    const int within = threadIdx.x % COLUMNS, t = threadIdx.x / COLUMNS;
    const int reference = blockIdx.y;
    const long long column = static_cast<long long>(blockIdx.x) * COLUMNS + within;
    const bool is_column = column < n_columns;

    float2 values[4];
    for (int q = 0; q < 4; ++q) {
        const int index = t + q * (LENGTH / 4);
        const int k = min(index, LENGTH - index);
        values[q] = make_float2(0.0f, 0.0f);
        if (k >= n_harmonics || !is_column) continue;
        const float* real =
            products + (static_cast<long long>(k) * n_references + reference) * 4 * n_columns + column;
        const float* imaginary = real + 2 * n_columns;
        const FourSums sums = {real[0], imaginary[n_columns], real[n_columns], imaginary[0]};
        values[q] = both_hands(sums, index, LENGTH);
    }
    float2* mine = room + within * Transform<LENGTH>::STRIDE;
    fourier_transform<LENGTH, 1>(values, mine, t, turns);

    float2 highest = values[0];
    for (int q = 1; q < 4; ++q) {
        highest.x = max(highest.x, values[q].x);
        highest.y = max(highest.y, values[q].y);
    }
    mine[t] = highest;
    __syncthreads();
    for (int half = LENGTH / 8; half > 0; half /= 2) {
        if (t < half) {
            mine[t].x = max(mine[t].x, mine[t + half].x);
            mine[t].y = max(mine[t].y, mine[t + half].y);
        }
        __syncthreads();
    }
    if (t == 0 && is_column) {
        float* at = heights + static_cast<long long>(reference) * 2 * n_columns + column;
        at[0] = mine[0].x;
        at[n_columns] = mine[0].y;
    }
}
