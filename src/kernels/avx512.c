/* SPDX-License-Identifier: MIT */
/* The table for x86 with AVX-512. Built with -mavx512f -mavx512bw -mavx512vl -mavx512dq; without them
 * it is absent. */
#include "kernels/kernels_int.h"

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VL__) && defined(__AVX512DQ__)

#include "kernels/avx512_impl.h"
#include "kernels/table_impl.h"

const kernel_table *kernels_avx512(void)
{
	static const kernel_table table = TABLE("avx512");

	return &table;
}

#else

const kernel_table *kernels_avx512(void)
{
	return NULL;
}

#endif
