/* SPDX-License-Identifier: MIT */
/* The most products that a core makes in f32 with avx512. */
#include "kernels/kernels_int.h"

#if defined(__AVX512F__)

#include <immintrin.h>

typedef __m512 peak_vec;
#define PEAK_LANES 16

static inline peak_vec peak_multiply_add(peak_vec a, peak_vec b, peak_vec c)
{
	return _mm512_fmadd_ps(a, b, c);
}

#include "kernels/peak_impl.h"

uint64_t kernels_peak_avx512(uint32_t rounds)
{
	return peak_loop(rounds);
}

#else

uint64_t kernels_peak_avx512(uint32_t rounds)
{
	(void)rounds;
	return 0;
}

#endif
