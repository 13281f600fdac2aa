// SPDX-License-Identifier: GPL-3.0-or-later
// Enough of CUDA C++ for g++ to compile the package's .cu files and run them on the host.
//
// Every thread of a block is a fiber with a stack of its own. A fiber runs until it reaches a
// barrier or returns; only when all have arrived does any of them go on. A barrier that is missing
// therefore shows: the first thread finishes its reading before the others have written.
// Blocks run one after the other, forwards or backwards, and so do the threads of a block.
#pragma once

#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#include <cmath>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#define CRYORALIB_HOST 1
#define __global__ static
#define __device__ static
#define __host__
#define __forceinline__ inline
#define __shared__ static
#define __restrict__ __restrict
#define __launch_bounds__(...)

struct uint3 { unsigned x, y, z; };
struct dim3 { unsigned x, y, z; };
struct float2 { float x, y; };
struct double2 { double x, y; };
static inline float2 make_float2(float x, float y) { return {x, y}; }
static inline double2 make_double2(double x, double y) { return {x, y}; }

static uint3 threadIdx, blockIdx;
static dim3 blockDim, gridDim;

template <class T> static inline T __ldg(const T* p) { return *p; }
template <class T> static inline T atomicAdd(T* p, T v) { T old = *p; *p = old + v; return old; }
template <class T> static inline T atomicMax(T* p, T v) { T old = *p; if (v > old) *p = v; return old; }
template <class T> static inline T atomicOr(T* p, T v) { T old = *p; *p = old | v; return old; }
static inline long long __double2ll_rn(double v) { return llrint(v); }
static inline unsigned __umulhi(unsigned a, unsigned b) {
    return static_cast<unsigned>((static_cast<uint64_t>(a) * b) >> 32);
}
static inline float __int_as_float(int v) { float f; __builtin_memcpy(&f, &v, 4); return f; }
static inline int __float_as_int(float f) { int v; __builtin_memcpy(&v, &f, 4); return v; }
static inline void sincospi(double v, double* s, double* c) { *s = sin(M_PI * v); *c = cos(M_PI * v); }
static inline void sincospif(float v, float* s, float* c) {
    *s = static_cast<float>(sin(M_PI * v)); *c = static_cast<float>(cos(M_PI * v));
}
using std::max;
using std::min;

namespace cuda_on_host {

constexpr size_t STACK_BYTES = 128 * 1024;
enum class Wait { none, block, warp };

struct Fiber {
    jmp_buf here;
    ucontext_t start;
    std::vector<char> stack;
    uint3 thread;
    unsigned number;
    Wait wait = Wait::none;
    bool finished = true;
    uint64_t posted = 0;
    uint64_t fetched = 0;
    unsigned partner = 0;
};

static std::vector<Fiber*> fibers;
static jmp_buf scheduler;
static Fiber* running = nullptr;
static void (*body)(void*) = nullptr;
static void* body_arguments = nullptr;
static std::vector<char> dynamic_shared;
// Where the compiler has put the __shared__ variables.
static std::vector<std::pair<void*, size_t>> static_shared;
static bool backwards = false;

static void fiber_main() {
    for (;;) {
        body(body_arguments);
        running->finished = true;
        if (!_setjmp(running->here)) _longjmp(scheduler, 1);
    }
}

static ucontext_t first_return;

static void enter(Fiber* fiber, bool fresh) {
    running = fiber;
    threadIdx = fiber->thread;
    if (_setjmp(scheduler)) return;
    if (fresh) {
        getcontext(&fiber->start);
        fiber->stack.resize(STACK_BYTES);
        fiber->start.uc_stack.ss_sp = fiber->stack.data();
        fiber->start.uc_stack.ss_size = STACK_BYTES;
        fiber->start.uc_link = nullptr;
        makecontext(&fiber->start, fiber_main, 0);
        setcontext(&fiber->start);
    }
    _longjmp(fiber->here, 1);
}

static inline void pause_until(Wait wait) {
    running->wait = wait;
    if (!_setjmp(running->here)) _longjmp(scheduler, 1);
}

// Lanes that wait at a warp exchange go on once all living lanes of their warp wait there.
static bool release_warp(unsigned first, unsigned count) {
    bool any = false;
    for (unsigned i = first; i < first + count; ++i) {
        if (fibers[i]->finished) continue;
        if (fibers[i]->wait != Wait::warp) return false;
        any = true;
    }
    if (!any) return false;
    for (unsigned i = first; i < first + count; ++i) {
        Fiber* lane = fibers[i];
        if (lane->finished) continue;
        const unsigned partner = first + lane->partner % 32;
        lane->fetched = partner < first + count ? fibers[partner]->posted : lane->posted;
    }
    for (unsigned i = first; i < first + count; ++i) fibers[i]->wait = Wait::none;
    return true;
}

static void run_block(unsigned n_threads) {
    // What a block has not written it must not read.
    memset(dynamic_shared.data(), 0xff, dynamic_shared.size());
    for (auto& place : static_shared) memset(place.first, 0xff, place.second);
    for (unsigned i = 0; i < n_threads; ++i) {
        fibers[i]->finished = false;
        fibers[i]->wait = Wait::none;
    }
    for (;;) {
        bool progress = false;
        for (unsigned n = 0; n < n_threads; ++n) {
            Fiber* fiber = fibers[backwards ? n_threads - 1 - n : n];
            if (fiber->finished || fiber->wait != Wait::none) continue;
            enter(fiber, fiber->stack.empty());
            progress = true;
        }
        for (unsigned first = 0; first < n_threads; first += 32)
            progress |= release_warp(first, min(32u, n_threads - first));
        bool all_at_barrier = true, all_finished = true;
        for (unsigned i = 0; i < n_threads; ++i) {
            all_finished &= fibers[i]->finished;
            all_at_barrier &= fibers[i]->finished || fibers[i]->wait == Wait::block;
        }
        if (all_finished) return;
        if (all_at_barrier) {
            for (unsigned i = 0; i < n_threads; ++i) fibers[i]->wait = Wait::none;
        } else if (!progress) {
            fprintf(stderr, "cuda_on_host: threads of a block wait at different barriers\n");
            abort();
        }
    }
}

template <class... A>
struct Call {
    void (*kernel)(A...);
    void** values;
    template <size_t... I> void invoke(std::index_sequence<I...>) {
        kernel(*static_cast<std::remove_cv_t<A>*>(values[I])...);
    }
    static void run(void* self) {
        static_cast<Call*>(self)->invoke(std::index_sequence_for<A...>{});
    }
};

template <class... A>
static void launch(
    void (*kernel)(A...), const unsigned* grid, const unsigned* block, unsigned shared_bytes,
    int reverse, void** values) {
    Call<A...> call{kernel, values};
    body = &Call<A...>::run;
    body_arguments = &call;
    backwards = reverse != 0;
    gridDim = {grid[0], grid[1], grid[2]};
    blockDim = {block[0], block[1], block[2]};
    dynamic_shared.resize(shared_bytes + 16);
    const unsigned n_threads = block[0] * block[1] * block[2];
    while (fibers.size() < n_threads) fibers.push_back(new Fiber());
    for (unsigned i = 0; i < n_threads; ++i) {
        fibers[i]->number = i;
        fibers[i]->thread = {
            i % block[0], i / block[0] % block[1], i / (block[0] * block[1])};
    }
    const size_t n_blocks = size_t(grid[0]) * grid[1] * grid[2];
    for (size_t n = 0; n < n_blocks; ++n) {
        const size_t b = backwards ? n_blocks - 1 - n : n;
        blockIdx = {
            unsigned(b % grid[0]), unsigned(b / grid[0] % grid[1]),
            unsigned(b / (size_t(grid[0]) * grid[1]))};
        run_block(n_threads);
    }
}

template <class T> static T exchange(T value, unsigned partner) {
    static_assert(sizeof(T) <= 8, "warp exchange of at most 8 bytes");
    __builtin_memcpy(&running->posted, &value, sizeof(T));
    running->partner = partner;
    Fiber* self = running;
    pause_until(Wait::warp);
    T result;
    __builtin_memcpy(&result, &self->fetched, sizeof(T));
    return result;
}

}  // namespace cuda_on_host

static inline void __syncthreads() { cuda_on_host::pause_until(cuda_on_host::Wait::block); }
static inline void __syncwarp(unsigned = 0xffffffffu) {
    cuda_on_host::exchange(0, cuda_on_host::running->number % 32);
}
template <class T> static inline T __shfl_xor_sync(unsigned, T value, int lane_mask) {
    return cuda_on_host::exchange(value, (cuda_on_host::running->number % 32) ^ lane_mask);
}
template <class T> static inline T __shfl_sync(unsigned, T value, int lane) {
    return cuda_on_host::exchange(value, unsigned(lane));
}
template <class T> static inline T __shfl_down_sync(unsigned, T value, int delta) {
    const unsigned lane = cuda_on_host::running->number % 32;
    return cuda_on_host::exchange(value, lane + delta < 32 ? lane + delta : lane);
}
