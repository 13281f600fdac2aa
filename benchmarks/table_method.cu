// SPDX-License-Identifier: GPL-3.0-or-later
// The two hand-written steps of the table method of Cryo-RALib's paper, as its GPU code takes them:
// rings of one length, one sample or one harmonic a thread, every correlation written to a table.
#include "common.cuh"
#include "bilinear.cuh"

// One block a particle and ring, one thread a sample; done again for every shift.
__global__ void table_polar(
    const float* __restrict__ images, float* __restrict__ rings, float shift_x, float shift_y, int box) {
    const int length = blockDim.x, n_rings = gridDim.y;
    const float angle = 6.2831853f * threadIdx.x / length, radius = blockIdx.y + 1.0f;
    const long long particle = blockIdx.x;
    rings[(particle * n_rings + blockIdx.y) * length + threadIdx.x] = bilinear<float>(
        images + particle * box * box, box, box / 2 + shift_x + radius * cosf(angle),
        box / 2 + shift_y + radius * sinf(angle));
}

// One block a particle and four references, one thread a harmonic: both hands by two complex products
// a ring, weighted by the radius, into the table (n, 2, n_shifts, n_references, n_harmonics).
__global__ void table_multiply(
    const float2* __restrict__ particles, const float2* __restrict__ references,
    float2* __restrict__ table, int n_shifts, int shift, int n_references, int n_rings) {
    const int n_harmonics = blockDim.x, k = threadIdx.x;
    const int reference = blockIdx.y * blockDim.y + threadIdx.y;
    if (reference >= n_references) return;
    const long long particle = blockIdx.x;
    float2 straight = make_float2(0.0f, 0.0f), mirrored = make_float2(0.0f, 0.0f);
    for (int ring = 0; ring < n_rings; ++ring) {
        const float2 a = references[(reference * n_rings + ring) * n_harmonics + k];
        const float2 b = particles[(particle * n_rings + ring) * n_harmonics + k];
        const float weight = ring + 1.0f;
        straight.x += weight * (a.x * b.x + a.y * b.y);
        straight.y += weight * (a.y * b.x - a.x * b.y);
        mirrored.x += weight * (a.x * b.x - a.y * b.y);
        mirrored.y -= weight * (a.x * b.y + a.y * b.x);
    }
    const long long row = ((particle * 2 * n_shifts + shift) * n_references + reference) * n_harmonics + k;
    table[row] = straight;
    table[row + static_cast<long long>(n_shifts) * n_references * n_harmonics] = mirrored;
}
