/* SPDX-License-Identifier: MIT */
/* A loop of independent sums in registers. The includer defines peak_vec, its number of floats PEAK_LANES, and
 * peak_multiply_add. */
#ifndef UFM_KERNELS_PEAK_IMPL_H
#define UFM_KERNELS_PEAK_IMPL_H

#include <stdint.h>
#include <string.h>

/* More sums than latency by width of any core, and with the two factors no more than 16 registers. */
#define PEAK_SUMS 12
#define PEAK_EACH(f) f(0) f(1) f(2) f(3) f(4) f(5) f(6) f(7) f(8) f(9) f(10) f(11)
#define PEAK_BEGIN(i) peak_vec sum##i = term;
#define PEAK_STEP(i) sum##i = peak_multiply_add(sum##i, factor, term);
#define PEAK_END(i) memcpy(out + (i), &sum##i, sizeof sum##i);

static inline peak_vec peak_all(float value)
{
	float values[PEAK_LANES];
	peak_vec all;

	for (int i = 0; i < PEAK_LANES; i++)
		values[i] = value;
	memcpy(&all, values, sizeof all);
	return all;
}

/* The sums converge, so no number ever becomes subnormal. Whoever can read memory can read them, so none is left out. */
static inline uint64_t peak_loop(uint32_t rounds)
{
	peak_vec out[PEAK_SUMS], factor = peak_all(0.5f), term = peak_all(1.0f);

	PEAK_EACH(PEAK_BEGIN)
	for (uint32_t r = 0; r < rounds; r++) {
		PEAK_EACH(PEAK_STEP)
		PEAK_EACH(PEAK_STEP)
	}
	PEAK_EACH(PEAK_END)
	__asm__ volatile("" ::"r"(&out[0]) : "memory");
	return 2ull * 2 * PEAK_LANES * PEAK_SUMS * rounds;
}

#endif
