// SPDX-License-Identifier: GPL-3.0-or-later
#include "common.cuh"
#include "bilinear.cuh"
#include "fft.cuh"

// Spectra of all rings of one length. A column is one particle at one shift; two columns, real both,
// share one complex transform. blockIdx.x: a group of 2 * TRANSFORMS columns; blockIdx.y: a ring.
//
// spectra holds, for each harmonic k from starts[k] on, a matrix of rings (first_ring[k] onwards) by
// real parts of all columns and imaginary parts of all columns: the right factor of the matrix
// product of that harmonic.
template <int LENGTH, int TRANSFORMS>
__global__ void __launch_bounds__(TRANSFORMS* LENGTH / 4) ring_spectra(
    const float* __restrict__ images, const float2* __restrict__ centres,
    const float* __restrict__ means, const float* __restrict__ scales,
    const float2* __restrict__ turns, const float* __restrict__ radii,
    const int* __restrict__ first_ring, const long long* __restrict__ starts,
    float* __restrict__ spectra, long long n_columns, int n_shifts, int box, int n_harmonics,
    int ring_offset) {
    __shared__ float2 room[TRANSFORMS * Transform<LENGTH>::STRIDE];
    const int transform = threadIdx.x % TRANSFORMS, t = threadIdx.x / TRANSFORMS;
    const int ring = ring_offset + blockIdx.y;
    const float radius = radii[ring];
    const long long first_column = static_cast<long long>(blockIdx.x) * 2 * TRANSFORMS;

    float2 values[4];
    for (int q = 0; q < 4; ++q) {
        // Sample n lies at angle 2 pi n / L from +y towards +x.
        const float2 turn = turns[t + q * (LENGTH / 4)];
        float pair[2];
        for (int half = 0; half < 2; ++half) {
            const long long column = min(first_column + 2 * transform + half, n_columns - 1);
            const float2 centre = centres[column];
            const float value = bilinear<float>(
                images + column / n_shifts * box * box, box, centre.x + radius * turn.y,
                centre.y + radius * turn.x);
            pair[half] = (value - means[column]) * scales[column];
        }
        values[q] = make_float2(pair[0], pair[1]);
    }
    float2* mine = room + transform * Transform<LENGTH>::STRIDE;
    fourier_transform<LENGTH, -1>(values, mine, t, turns);
    for (int q = 0; q < 4; ++q) mine[t + q * (LENGTH / 4)] = values[q];
    __syncthreads();

    const int n_kept = min(n_harmonics, LENGTH / 2 + 1);
    for (int i = threadIdx.x; i < n_kept * 2 * TRANSFORMS; i += blockDim.x) {
        const int k = i / (2 * TRANSFORMS), within = i % (2 * TRANSFORMS);
        const long long column = first_column + within;
        const int depth = ring - first_ring[k];
        if (column >= n_columns || depth < 0) continue;
        // The transform of u + i w holds U and W as its hermitian and antihermitian parts.
        const float2* spectrum = room + within / 2 * Transform<LENGTH>::STRIDE;
        const float2 z = spectrum[k], opposite = spectrum[(LENGTH - k) % LENGTH];
        const float real = within % 2 ? z.y + opposite.y : z.x + opposite.x;
        const float imaginary = within % 2 ? opposite.x - z.x : z.y - opposite.y;
        float* at = spectra + starts[k] + static_cast<long long>(depth) * 2 * n_columns + column;
        at[0] = 0.5f * real;
        at[n_columns] = 0.5f * imaginary;
    }
}
