// SPDX-License-Identifier: GPL-3.0-or-later
// Spectra of both hands as one complex transform: the straight correlation becomes its real part,
// the mirrored one its imaginary part.
#pragma once

// The four sums of one harmonic: a = sum Ar Br, b = sum Ai Bi, c = sum Ar Bi, d = sum Ai Br.
struct FourSums {
    float a, b, c, d;
};

// Element `index` of the spectrum Q + i T of length n_angles, Q = (a + b) + i (d - c) straight,
// T = (a - b) - i (c + d) mirrored, Q[-k] = conj Q[k]; `sums` belong to harmonic min(index, -index).
__device__ inline float2 both_hands(FourSums sums, int index, int n_angles) {
    const float qr = sums.a + sums.b, tr = sums.a - sums.b;
    if (index == 0 || 2 * index == n_angles) return make_float2(qr, tr);
    const float sign = 2 * index < n_angles ? 1.0f : -1.0f;
    const float qi = sign * (sums.d - sums.c), ti = -sign * (sums.c + sums.d);
    return make_float2(qr - ti, qi + tr);
}
