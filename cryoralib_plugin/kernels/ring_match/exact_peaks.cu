// SPDX-License-Identifier: GPL-3.0-or-later
#include "common.cuh"
#include "bilinear.cuh"
#include "reduce.cuh"

// Exact peaks: from a start (particle, centre, reference, hand, angle bin) to an angle bin that no
// other within three bins exceeds, in float64 with the whole spectrum. One block a start.

// Correlation of the reference at one angle bin with the samples: straight samples meet the table
// forwards, mirrored ones backwards. The angles that the samples of a ring meet together lie side by
// side in the table.
__device__ inline double correlation_at(
    const double* __restrict__ table, const double* __restrict__ samples,
    const int* __restrict__ ring_of_sample, const int* __restrict__ bin_of_sample,
    const int* __restrict__ step_bits, int n_samples, int n_angles, bool mirror, int angle,
    double* room) {
    double sum = 0.0;
    for (int i = threadIdx.x; i < n_samples; i += blockDim.x) {
        const int bin = angle + bin_of_sample[i];
        const int at = (mirror ? -bin : bin) & (n_angles - 1);
        const int ring = ring_of_sample[i];
        const int bits = step_bits[ring];
        const int place = ((at & ((1 << bits) - 1)) * (n_angles >> bits)) + (at >> bits);
        sum += table[ring * n_angles + place] * samples[i];
    }
    return block_sum<double>(sum, room);
}

// positions (n_samples, 2) and areas (n_samples,) of the ring samples; bin_of_sample: the angle bin
// of each sample, n * n_angles / L; step_bits: log2(n_angles / L) of each ring. tables
// (n_references, n_rings, n_angles): area-weighted references, laid out as ReferenceRings says.
// scratch (gridDim.x, n_samples). Results: height, angle bin and offset of the maximum from the bin by
// the 7-point parabola (SPARX prb1d); equal heights go to the later bin.
__global__ void exact_peaks(
    const float* __restrict__ images, const long long* __restrict__ particles,
    const double2* __restrict__ centres, const int* __restrict__ references,
    const bool* __restrict__ mirrored, const int* __restrict__ angles,
    const double2* __restrict__ positions, const double* __restrict__ areas,
    const int* __restrict__ ring_of_sample, const int* __restrict__ bin_of_sample,
    const int* __restrict__ step_bits, const double* __restrict__ tables,
    double* __restrict__ scratch, double* __restrict__ heights, int* __restrict__ bins,
    double* __restrict__ offsets, int n_samples, int n_rings, int n_angles, int box, int normalise) {
    __shared__ double room[128];
    const long long start = blockIdx.x;
    const float* image = images + particles[start] * box * box;
    double* samples = scratch + start * n_samples;
    const double2 centre = centres[start];
    double area = 0.0, sum = 0.0;
    for (int i = threadIdx.x; i < n_samples; i += blockDim.x) {
        samples[i] =
            bilinear<double>(image, box, centre.x + positions[i].x, centre.y + positions[i].y);
        area += areas[i];
        sum += areas[i] * samples[i];
    }
    if (normalise) {
        area = block_sum<double>(area, room);
        const double mean = block_sum<double>(sum, room) / area;
        double square = 0.0;
        for (int i = threadIdx.x; i < n_samples; i += blockDim.x)
            square += areas[i] * (samples[i] - mean) * (samples[i] - mean);
        square = block_sum<double>(square, room);
        const double scale = square > 0.0 ? 1.0 / sqrt(square / area) : 0.0;
        for (int i = threadIdx.x; i < n_samples; i += blockDim.x)
            samples[i] = (samples[i] - mean) * scale;
    }
    // Each thread reads only the samples it has written: no barrier is needed.
    const double* table = tables + static_cast<long long>(references[start]) * n_rings * n_angles;
    const bool mirror = mirrored[start];
    int angle = angles[start];
    double window[7];
    bool known[7] = {};
    // All threads hold the same window, so they walk together: to the highest of seven bins, the
    // later one of equals, until that is the bin they stand on.
    for (int walked = 0; walked < n_angles; ++walked) {
        int highest = 0;
        bool constant = true;
        for (int i = 0; i < 7; ++i) {
            if (!known[i])
                window[i] = correlation_at(
                    table, samples, ring_of_sample, bin_of_sample, step_bits, n_samples,
                    n_angles, mirror, angle + i - 3, room);
            if (window[i] >= window[highest]) highest = i;
            constant = constant && window[i] == window[0];
        }
        const int move = highest - 3;
        // Going back to an equal earlier bin would never end, nor would a walk on a plain.
        if (constant || move == 0 || (move < 0 && window[highest] == window[3])) break;
        double moved[7];
        for (int i = 0; i < 7; ++i) {
            known[i] = i + move >= 0 && i + move < 7;
            moved[i] = known[i] ? window[i + move] : 0.0;
        }
        for (int i = 0; i < 7; ++i) window[i] = moved[i];
        angle += move;
    }
    if (threadIdx.x != 0) return;
    double numerator = 0.0, denominator = 0.0;
    for (int i = 0; i < 7; ++i) {
        numerator += (i - 3) * window[i];
        denominator += ((i - 3) * (i - 3) - 4) * window[i];
    }
    heights[start] = window[3];
    bins[start] = angle & (n_angles - 1);
    offsets[start] = denominator != 0.0 ? -1.5 * numerator / denominator : 0.0;
}
