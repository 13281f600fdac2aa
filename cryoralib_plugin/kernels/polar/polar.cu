// SPDX-License-Identifier: GPL-3.0-or-later
#include "common.cuh"
#include "bilinear.cuh"

// One thread for each ring sample of each image.
template <class Pixel>
__global__ void resample_polar(
    const Pixel* __restrict__ images, const double* __restrict__ shift_px,
    const double* __restrict__ positions, double* __restrict__ samples, long long n_images,
    int n_samples, int box) {
    const long long i = global_thread();
    if (i >= n_images * n_samples) return;
    const long long image = i / n_samples;
    const int sample = static_cast<int>(i - image * n_samples);
    const int centre = box / 2;
    samples[i] = bilinear<double>(
        images + image * box * box, box, (centre - shift_px[2 * image]) + positions[2 * sample],
        (centre - shift_px[2 * image + 1]) + positions[2 * sample + 1]);
}
