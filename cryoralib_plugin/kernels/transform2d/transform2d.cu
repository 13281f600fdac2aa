// SPDX-License-Identifier: GPL-3.0-or-later
#include "common.cuh"
#include "quadratic.cuh"

// One thread for each pixel of each moved image.
__global__ void transform_images(
    const float* __restrict__ images, const double* __restrict__ poses, float* __restrict__ transformed,
    long long n_images, int box) {
    const long long n_pixels = static_cast<long long>(box) * box;
    const long long i = global_thread();
    if (i >= n_images * n_pixels) return;
    const long long image = i / n_pixels;
    const int pixel = static_cast<int>(i - image * n_pixels);
    transformed[i] =
        moved_pixel(images + image * n_pixels, box, poses + 5 * image, pixel / box, pixel % box);
}
