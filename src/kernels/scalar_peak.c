/* SPDX-License-Identifier: MIT */
/* The most products that a core makes with what every CPU of its kind has. */
#include "kernels/kernels_int.h"

typedef float peak_vec __attribute__((vector_size(16)));
#define PEAK_LANES 4

static inline peak_vec peak_multiply_add(peak_vec a, peak_vec b, peak_vec c)
{
	return a * b + c;
}

#include "kernels/peak_impl.h"

uint64_t kernels_peak_scalar(uint32_t rounds)
{
	return peak_loop(rounds);
}
