/* SPDX-License-Identifier: MIT */
/* The weighted sum of expert outputs. Built with -ffp-contract=off: product and sum are two
 * roundings, so that any backend can give the same bits. */
#include "kernels/kernels_int.h"

#include <string.h>

#define QUAD 4
typedef float quad __attribute__((vector_size(QUAD * sizeof(float))));

void kernels_accumulate(float *acc, float gate, const float *row, uint32_t d)
{
	uint32_t i = 0;

	for (; i + QUAD <= d; i += QUAD) {
		quad sum, addend;
		memcpy(&sum, acc + i, sizeof sum);
		memcpy(&addend, row + i, sizeof addend);
		sum += addend * gate;
		memcpy(acc + i, &sum, sizeof sum);
	}
	for (; i < d; i++) {
		float product = gate * row[i];
		acc[i] = acc[i] + product;
	}
}
