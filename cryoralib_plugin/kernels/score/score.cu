// SPDX-License-Identifier: GPL-3.0-or-later
#include "common.cuh"

// Scores of a block: (n, n_shifts, n_rotations) float32 scalar products, rotations fastest;
// penalties (n, n_rotations) are half the norms of the slices under each particle's CTF.

// One thread for each particle and rotation.
__global__ void rotation_masses(
    const float* __restrict__ scores, const float* __restrict__ penalties,
    const float* __restrict__ shift_weight, float* __restrict__ log_mass,
    float* __restrict__ likelihood, int* __restrict__ shift, long long n_particles, int n_shifts,
    int n_rotations) {
    const long long i = global_thread();
    if (i >= n_particles * n_rotations) return;
    const long long particle = i / n_rotations;
    const int rotation = static_cast<int>(i - particle * n_rotations);
    const float* column = scores + particle * n_shifts * n_rotations + rotation;
    float peak = column[0];
    int at = 0;
    for (int j = 1; j < n_shifts; ++j) {
        const float score = column[static_cast<long long>(j) * n_rotations];
        if (score > peak) peak = score, at = j;
    }
    float mass = 0.0f;
    for (int j = 0; j < n_shifts; ++j)
        mass += shift_weight[j] * expf(column[static_cast<long long>(j) * n_rotations] - peak);
    likelihood[i] = peak - penalties[i];
    log_mass[i] = logf(mass) + likelihood[i];
    shift[i] = at;
}

// One warp for each particle and shift: the sum over the rotations of the block.
__global__ void shift_masses(
    const float* __restrict__ scores, const float* __restrict__ penalties,
    const float* __restrict__ shift_weight, const double* __restrict__ offset,
    double* __restrict__ shift_mass, long long n_particles, int n_shifts, int n_rotations) {
    const long long row = global_thread() / 32;
    const int lane = threadIdx.x % 32;
    if (row >= n_particles * n_shifts) return;
    const long long particle = row / n_shifts;
    const int j = static_cast<int>(row - particle * n_shifts);
    double total = 0.0;
    for (int i = lane; i < n_rotations; i += 32) {
        const float penalty = penalties[particle * n_rotations + i];
        const double score = scores[row * n_rotations + i] - penalty;
        total += expf(static_cast<float>(score - offset[particle]));
    }
    for (int step = 16; step > 0; step /= 2)
        total += __shfl_xor_sync(0xffffffffu, total, step);
    if (lane == 0) shift_mass[row] += shift_weight[j] * total;
}
