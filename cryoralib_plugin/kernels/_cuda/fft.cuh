// SPDX-License-Identifier: GPL-3.0-or-later
// A complex Fourier transform spread over LENGTH / 4 threads of a block: Stockham's algorithm with
// four points in the registers of each thread and shared memory between its passes.
#pragma once

__device__ inline float2 multiply(float2 a, float2 b) {
    return make_float2(a.x * b.x - a.y * b.y, a.x * b.y + a.y * b.x);
}

// Distance between the transforms of a block in shared memory: the padding keeps neighbouring
// transforms out of one another's banks.
template <int LENGTH>
struct Transform {
    static constexpr int THREADS = LENGTH / 4;
    static constexpr int STRIDE = LENGTH + 2;
};

// SIGN +1: out[j] = sum_k in[k] exp(+2 pi i j k / LENGTH); SIGN -1 the other way.
// values[q] holds element t + q * LENGTH / 4, before and after; t = 0 .. LENGTH / 4 - 1.
// room: this transform's part of shared memory. turns[j] = (cos, sin)(2 pi j / LENGTH).
// All threads of the block must call this together. A thread last reads from room the places of the
// elements it returns, so it may write to those places without another barrier.
template <int LENGTH, int SIGN>
__device__ inline void fourier_transform(
    float2 values[4], float2* room, int t, const float2* __restrict__ turns) {
    constexpr int QUARTER = LENGTH / 4;
    int done = 1;
#pragma unroll
    for (; done * 4 <= LENGTH; done *= 4) {
        const int within = t % done;
        const int step = LENGTH / (4 * done);
#pragma unroll
        for (int q = 1; q < 4; ++q) {
            float2 turn = turns[within * step * q];
            if (SIGN < 0) turn.y = -turn.y;
            values[q] = multiply(values[q], turn);
        }
        const float2 a = make_float2(values[0].x + values[2].x, values[0].y + values[2].y);
        const float2 b = make_float2(values[0].x - values[2].x, values[0].y - values[2].y);
        const float2 c = make_float2(values[1].x + values[3].x, values[1].y + values[3].y);
        const float2 d = make_float2(
            -SIGN * (values[1].y - values[3].y), SIGN * (values[1].x - values[3].x));
        values[0] = make_float2(a.x + c.x, a.y + c.y);
        values[1] = make_float2(b.x + d.x, b.y + d.y);
        values[2] = make_float2(a.x - c.x, a.y - c.y);
        values[3] = make_float2(b.x - d.x, b.y - d.y);
        if (done * 4 == LENGTH) return;
        const int first = (t / done) * done * 4 + within;
        __syncthreads();
#pragma unroll
        for (int q = 0; q < 4; ++q) room[first + q * done] = values[q];
        __syncthreads();
#pragma unroll
        for (int q = 0; q < 4; ++q) values[q] = room[t + q * QUARTER];
    }
    // An odd power of two leaves one pass over pairs: elements t and t + QUARTER with the ones half
    // a length away.
#pragma unroll
    for (int q = 0; q < 2; ++q) {
        float2 turn = turns[t + q * QUARTER];
        if (SIGN < 0) turn.y = -turn.y;
        const float2 one = values[q];
        const float2 other = multiply(values[q + 2], turn);
        values[q] = make_float2(one.x + other.x, one.y + other.y);
        values[q + 2] = make_float2(one.x - other.x, one.y - other.y);
    }
}
