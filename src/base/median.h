/* SPDX-License-Identifier: MIT */
/* The median of measurements. */
#ifndef UFM_BASE_MEDIAN_H
#define UFM_BASE_MEDIAN_H

#include <stdint.h>
#include <stdlib.h>

static inline int median_order(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

/* Of `count` values, at least one, which it sorts. */
static inline double median_of(double *values, uint32_t count)
{
	qsort(values, count, sizeof *values, median_order);
	return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

#endif
