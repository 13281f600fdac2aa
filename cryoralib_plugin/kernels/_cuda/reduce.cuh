// SPDX-License-Identifier: GPL-3.0-or-later
// Sum over the threads of a block in one fixed order.
#pragma once

// room: blockDim.x values of shared memory; blockDim.x is a power of two. Every thread gets the sum.
template <class Real>
__device__ inline Real block_sum(Real value, Real* room) {
    __syncthreads();
    room[threadIdx.x] = value;
    __syncthreads();
    for (int half = blockDim.x / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) room[threadIdx.x] += room[threadIdx.x + half];
        __syncthreads();
    }
    return room[0];
}
