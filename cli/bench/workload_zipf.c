/* SPDX-License-Identifier: MIT */
/* Zipf's law: word r of a vocabulary has a share proportional to 1 / r^S. */
#include <math.h>

#include "base/alloc.h"
#include "cli/bench/workload_int.h"

ufm_status zipf_open(double exponent, zipf *out)
{
	double sum = 0;
	double *cumulative = alloc_zeroed(ZIPF_WORDS, sizeof *cumulative);
	if (!cumulative)
		return UFM_ENOMEM;
	for (uint32_t i = 0; i < ZIPF_WORDS; i++) {
		sum += pow((double)i + 1, -exponent);
		cumulative[i] = sum;
	}
	for (uint32_t i = 0; i < ZIPF_WORDS; i++)
		cumulative[i] /= sum;
	out->cumulative = cumulative;
	return UFM_OK;
}

void zipf_close(zipf *z)
{
	alloc_free(z->cumulative);
	z->cumulative = NULL;
}

/* The first word whose share of the line ends beyond `unit`. */
uint32_t zipf_word(const zipf *z, double unit)
{
	uint32_t low = 0, high = ZIPF_WORDS - 1;
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		if (z->cumulative[middle] > unit)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}
