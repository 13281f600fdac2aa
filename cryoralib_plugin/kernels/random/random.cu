// SPDX-License-Identifier: GPL-3.0-or-later
#include "common.cuh"
#include "philox.cuh"

// One thread for each counter, that is for four words of one particle.
__global__ void random_words(
    const long long* __restrict__ particle_ids, unsigned* __restrict__ words, long long n_particles,
    long long n_draws, unsigned key_0, unsigned key_1, unsigned last_word) {
    const long long n_blocks = (n_draws + 3) / 4;
    const long long i = global_thread();
    if (i >= n_particles * n_blocks) return;
    const long long particle = i / n_blocks;
    const long long block = i - particle * n_blocks;
    const unsigned long long id = static_cast<unsigned long long>(particle_ids[particle]);
    unsigned counter[4] = {static_cast<unsigned>(block), static_cast<unsigned>(id),
                           static_cast<unsigned>(id >> 32), last_word};
    philox(counter, key_0, key_1);
    for (int j = 0; j < 4 && 4 * block + j < n_draws; ++j)
        words[particle * n_draws + 4 * block + j] = counter[j];
}
