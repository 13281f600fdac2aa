// SPDX-License-Identifier: GPL-3.0-or-later
#include "common.cuh"
#include "bilinear.cuh"
#include "reduce.cuh"

// Area-weighted mean and scale of the rings of one column (one particle at one shift), and their
// norm after normalisation. One block a column. Without normalisation mean 0 and scale 1.
__global__ void ring_statistics(
    const float* __restrict__ images, const float2* __restrict__ centres,
    const float2* __restrict__ positions, const float* __restrict__ areas, float* __restrict__ means,
    float* __restrict__ scales, float* __restrict__ norms, int n_samples, int n_shifts, int box,
    int normalise) {
    __shared__ double room[128];
    const long long column = blockIdx.x;
    const float* image = images + column / n_shifts * box * box;
    const float2 centre = centres[column];
    float area = 0.0f, sum = 0.0f, squares = 0.0f;
    for (int i = threadIdx.x; i < n_samples; i += blockDim.x) {
        const float value =
            bilinear<float>(image, box, centre.x + positions[i].x, centre.y + positions[i].y);
        area += areas[i];
        sum += areas[i] * value;
        squares += areas[i] * value * value;
    }
    const double all = block_sum<double>(area, room);
    const double mean = block_sum<double>(sum, room) / all;
    const double square = block_sum<double>(squares, room);
    if (threadIdx.x != 0) return;
    if (!normalise) {
        means[column] = 0.0f;
        scales[column] = 1.0f;
        norms[column] = static_cast<float>(sqrt(square));
        return;
    }
    const double variance = square / all - mean * mean;
    means[column] = static_cast<float>(mean);
    // Constant rings match nothing.
    scales[column] = variance > 1e-30 ? static_cast<float>(1.0 / sqrt(variance)) : 0.0f;
    norms[column] = static_cast<float>(sqrt(all));
}
