/* SPDX-License-Identifier: MIT */
/* A loop of independent sums in registers. The includer defines peak_vec, its number of floats PEAK_LANES, and
 * peak_multiply_add. */
#ifndef UFM_KERNELS_PEAK_IMPL_H
#define UFM_KERNELS_PEAK_IMPL_H

#include <stdint.h>
#include <string.h>

#define PEAK_SUMS \
	12 /* more than latency by width of any core, with room for the two factors in 16 registers */
#define PEAK_UNROLL 16u

/* The sums converge, so no number ever becomes subnormal. */
static inline uint64_t peak_loop(uint32_t rounds)
{
	float factors[PEAK_LANES], terms[PEAK_LANES];
	peak_vec sums[PEAK_SUMS], factor, term;

	for (int i = 0; i < PEAK_LANES; i++) {
		factors[i] = 0.5f;
		terms[i] = 1.0f;
	}
	memcpy(&factor, factors, sizeof factor);
	memcpy(&term, terms, sizeof term);
	for (int s = 0; s < PEAK_SUMS; s++)
		sums[s] = term;
	for (uint32_t r = 0; r < rounds; r++) {
		for (uint32_t u = 0; u < PEAK_UNROLL; u++) {
#pragma GCC unroll 12
			for (int s = 0; s < PEAK_SUMS; s++)
				sums[s] = peak_multiply_add(sums[s], factor, term);
		}
	}
	/* Whoever could read memory could read them, so none is left out. */
	__asm__ volatile("" ::"r"(sums) : "memory");
	return 2ull * PEAK_LANES * PEAK_SUMS * PEAK_UNROLL * rounds;
}

#endif
