// SPDX-License-Identifier: GPL-3.0-or-later
#include "common.cuh"
#include "fft.cuh"
#include "hands.cuh"

// Angles worth an exact comparison: local maxima of one candidate's correlation that reach its
// threshold. A candidate is a column with a reference; one block each.
//
// reference_spectra holds, for each harmonic k from reference_starts[k] on, (n_references, 2, rings)
// real and imaginary parts; spectra and starts are those of ring_spectra.
// is_peak (n_candidates, 2, LENGTH): straight, then mirrored.
template <int LENGTH>
__global__ void angle_peaks(
    const float* __restrict__ spectra, const long long* __restrict__ starts,
    const float* __restrict__ reference_spectra, const long long* __restrict__ reference_starts,
    const int* __restrict__ first_ring, const float2* __restrict__ turns,
    const long long* __restrict__ columns, const int* __restrict__ references,
    const float* __restrict__ thresholds, bool* __restrict__ is_peak, long long n_columns,
    int n_harmonics, int n_rings) {
    __shared__ float2 room[Transform<LENGTH>::STRIDE];
    __shared__ FourSums sums[LENGTH / 2 + 1];
    const long long candidate = blockIdx.x;
    const long long column = columns[candidate];
    const int t = threadIdx.x;
    for (int k = t; k < n_harmonics; k += blockDim.x) {
        const int depth = n_rings - first_ring[k];
        const float* left =
            reference_spectra + reference_starts[k] + 2LL * references[candidate] * depth;
        const float* right = spectra + starts[k] + column;
        FourSums total = {0.0f, 0.0f, 0.0f, 0.0f};
        for (int ring = 0; ring < depth; ++ring, right += 2 * n_columns) {
            total.a += left[ring] * right[0];
            total.b += left[depth + ring] * right[n_columns];
            total.c += left[ring] * right[n_columns];
            total.d += left[depth + ring] * right[0];
        }
        sums[k] = total;
    }
    __syncthreads();
    float2 values[4];
    for (int q = 0; q < 4; ++q) {
        const int index = t + q * (LENGTH / 4);
        const int k = min(index, LENGTH - index);
        values[q] = k < n_harmonics ? both_hands(sums[k], index, LENGTH) : make_float2(0.0f, 0.0f);
    }
    fourier_transform<LENGTH, 1>(values, room, t, turns);
    for (int q = 0; q < 4; ++q) room[t + q * (LENGTH / 4)] = values[q];
    __syncthreads();
    const float threshold = thresholds[candidate];
    bool* straight = is_peak + candidate * 2 * LENGTH;
    for (int q = 0; q < 4; ++q) {
        const int j = t + q * (LENGTH / 4);
        const float2 here = room[j];
        const float2 before = room[(j + LENGTH - 1) % LENGTH], after = room[(j + 1) % LENGTH];
        // Of a plateau its last bin; a constant curve has one too.
        const bool is_last = j == LENGTH - 1;
        straight[j] = here.x >= threshold && here.x >= before.x && (is_last || here.x > after.x);
        straight[LENGTH + j] =
            here.y >= threshold && here.y >= before.y && (is_last || here.y > after.y);
    }
}
