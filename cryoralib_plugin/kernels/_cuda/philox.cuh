// SPDX-License-Identifier: GPL-3.0-or-later
// Philox4x32-10 (Salmon et al., SC 2011); constants and known answers of the Random123 library.
#pragma once

// Turns a counter of four words into four random words.
__device__ inline void philox(unsigned counter[4], unsigned key_0, unsigned key_1) {
    for (int round = 0; round < 10; ++round) {
        const unsigned long long product_0 = 0xD2511F53ull * counter[0];
        const unsigned long long product_1 = 0xCD9E8D57ull * counter[2];
        counter[0] = static_cast<unsigned>(product_1 >> 32) ^ counter[1] ^ key_0;
        counter[2] = static_cast<unsigned>(product_0 >> 32) ^ counter[3] ^ key_1;
        counter[1] = static_cast<unsigned>(product_1);
        counter[3] = static_cast<unsigned>(product_0);
        key_0 += 0x9E3779B9u;
        key_1 += 0xBB67AE85u;
    }
}
