// SPDX-License-Identifier: GPL-3.0-or-later
#include "common.cuh"
#include "quadratic.cuh"

// Members come sorted by sum, so that a thread adds a stretch of them in a register and touches
// memory only where the sum changes. Integers: the order of the atomic additions does not matter.
constexpr int MEMBERS_PER_BLOCK = 32;

__device__ inline void add_to_sum(
    long long* __restrict__ sums, long long place, long long addend) {
    atomicAdd(
        reinterpret_cast<unsigned long long*>(sums + place),
        static_cast<unsigned long long>(addend));
}

// One block adds MEMBERS_PER_BLOCK members in a tile of blockDim.x pixels.
__global__ void add_images(
    const float* __restrict__ images, const double* __restrict__ poses,
    const long long* __restrict__ order, const long long* __restrict__ slots,
    long long* __restrict__ sums, int* __restrict__ unsound, long long n_members, int box,
    double units, float largest_pixel) {
    const long long n_pixels = static_cast<long long>(box) * box;
    const long long n_tiles = (n_pixels + blockDim.x - 1) / blockDim.x;
    const long long first = blockIdx.x / n_tiles * MEMBERS_PER_BLOCK;
    const int pixel = static_cast<int>(blockIdx.x % n_tiles) * blockDim.x + threadIdx.x;
    if (pixel >= n_pixels) return;
    const int row = pixel / box, column = pixel % box;
    const long long last = min(first + MEMBERS_PER_BLOCK, n_members);

    long long slot = slots[first], total = 0;
    for (long long member = first; member < last; ++member) {
        if (slots[member] != slot) {
            add_to_sum(sums, slot * n_pixels + pixel, total);
            slot = slots[member];
            total = 0;
        }
        const long long image = order[member];
        const float value =
            moved_pixel(images + image * n_pixels, box, poses + 5 * image, row, column);
        // A comparison with NaN is false, so this catches it too.
        if (!(value <= largest_pixel && value >= -largest_pixel)) *unsound = 1;
        total += __double2ll_rn(static_cast<double>(value) * units);
    }
    add_to_sum(sums, slot * n_pixels + pixel, total);
}

// The same for values that need no movement: values (n_members, n_values) in the order of slots.
__global__ void add_values(
    const float* __restrict__ values, const long long* __restrict__ slots,
    long long* __restrict__ sums, long long n_members, long long n_values, double units) {
    const long long n_tiles = (n_values + blockDim.x - 1) / blockDim.x;
    const long long first = blockIdx.x / n_tiles * MEMBERS_PER_BLOCK;
    const long long i = blockIdx.x % n_tiles * blockDim.x + threadIdx.x;
    if (i >= n_values) return;
    const long long last = min(first + MEMBERS_PER_BLOCK, n_members);

    long long slot = slots[first], total = 0;
    for (long long member = first; member < last; ++member) {
        if (slots[member] != slot) {
            add_to_sum(sums, slot * n_values + i, total);
            slot = slots[member];
            total = 0;
        }
        total += __double2ll_rn(static_cast<double>(values[member * n_values + i]) * units);
    }
    add_to_sum(sums, slot * n_values + i, total);
}
