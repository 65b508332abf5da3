/* SPDX-License-Identifier: MIT */
/* The median of measurements, and what lies around it. */
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

/* The value below which a share (0 … 1) of them lies, in proportion between two neighbours: of 0.5 the median. Sorts
 * them, too. */
static inline double quantile_of(double *values, uint32_t count, double share)
{
	double at = share * (count - 1);
	uint32_t below = (uint32_t)at, above = below + 1 < count ? below + 1 : below;
	qsort(values, count, sizeof *values, median_order);
	return values[below] + (at - below) * (values[above] - values[below]);
}

#endif
