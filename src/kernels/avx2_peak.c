/* SPDX-License-Identifier: MIT */
/* The most products that a core makes in f32 with avx2. */
#include "kernels/kernels_int.h"

#if defined(__AVX2__) && defined(__FMA__)

#include <immintrin.h>

typedef __m256 peak_vec;
#define PEAK_LANES 8

static inline peak_vec peak_multiply_add(peak_vec a, peak_vec b, peak_vec c)
{
	return _mm256_fmadd_ps(a, b, c);
}

#include "kernels/peak_impl.h"

uint64_t kernels_peak_avx2(uint32_t rounds)
{
	return peak_loop(rounds);
}

#else

uint64_t kernels_peak_avx2(uint32_t rounds)
{
	(void)rounds;
	return 0;
}

#endif
