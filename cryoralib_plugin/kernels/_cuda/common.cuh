// SPDX-License-Identifier: GPL-3.0-or-later
// What the kernels share. Compiled by NVRTC, which has no standard headers.
#pragma once

// Shared memory whose size the launch decides.
#ifdef CRYORALIB_HOST
#define DYNAMIC_SHARED(type, name) \
    type* name = reinterpret_cast<type*>(cuda_on_host::dynamic_shared.data())
#else
#define DYNAMIC_SHARED(type, name)                        \
    extern __shared__ __align__(16) unsigned char shared_bytes_of_block[]; \
    type* name = reinterpret_cast<type*>(shared_bytes_of_block)
#endif

// Index of this thread in a one-dimensional launch, wide enough for arrays above 2^31 values.
__device__ inline long long global_thread() {
    return static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x;
}
