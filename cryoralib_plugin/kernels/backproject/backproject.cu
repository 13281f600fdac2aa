// SPDX-License-Identifier: GPL-3.0-or-later
#include "common.cuh"
#include "grid_cell.cuh"

__device__ inline void add_to_sum(long long* sum, double units) {
    atomicAdd(
        reinterpret_cast<unsigned long long*>(sum),
        static_cast<unsigned long long>(__double2ll_rn(units)));
}

// One thread for each term of each view. Integers: the order of the additions does not matter.
__global__ void add_slices(
    const float* __restrict__ spectra, const float* __restrict__ power,
    const float* __restrict__ rotations, const long long* __restrict__ image,
    const float* __restrict__ view_weight, const float* __restrict__ kx,
    const float* __restrict__ ky, long long* __restrict__ data, long long* __restrict__ weight,
    int* __restrict__ unsound, long long n_views, int n_terms, int extent, double data_units,
    double weight_units, float largest_value, float largest_weight) {
    const long long i = global_thread();
    if (i >= n_views * n_terms) return;
    const long long view = i / n_terms;
    const int k = static_cast<int>(i - view * n_terms);
    const long long term = image[view] * n_terms + k;
    const GridCell cell = cell_of(rotations + 9 * view, kx[k], ky[k], extent);
    // The term k = 0 is its own mate and would count twice.
    const float share = view_weight[view] * (kx[k] == 0.0f && ky[k] == 0.0f ? 0.5f : 1.0f);
    const float real = spectra[2 * term] * share;
    const float imag = cell.sign * spectra[2 * term + 1] * share;
    const float amount = power[term] * share;
    // A comparison with NaN is false, so this catches it too.
    if (!(fabsf(real) <= largest_value && fabsf(imag) <= largest_value &&
          fabsf(amount) <= largest_weight)) {
        *unsound = 1;
        return;
    }
    if (!cell.inside) return;
    const long long corner = corner_of(cell, extent);
    // In units of the sums from here on, in float64: one rounding for each voxel.
    const double real_units = static_cast<double>(real) * data_units;
    const double imag_units = static_cast<double>(imag) * data_units;
    const double amount_units = static_cast<double>(amount) * weight_units;
    for (int up = 0; up < 2; ++up) {
        const float in_z = up ? cell.fz : 1.0f - cell.fz;
        for (int over = 0; over < 2; ++over) {
            const float in_plane = in_z * (over ? cell.fy : 1.0f - cell.fy);
            for (int right = 0; right < 2; ++right) {
                const double part = in_plane * (right ? cell.fx : 1.0f - cell.fx);
                const long long voxel =
                    corner + (static_cast<long long>(up) * (2 * extent + 1) + over) * (extent + 1) +
                    right;
                add_to_sum(data + 2 * voxel, real_units * part);
                add_to_sum(data + 2 * voxel + 1, imag_units * part);
                add_to_sum(weight + voxel, amount_units * part);
            }
        }
    }
}
