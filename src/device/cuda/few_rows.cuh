/* SPDX-License-Identifier: MIT */
/* Row numbers that travel with a launch: a kernel that reads them in host memory holds up copies of experts, and
 * is held up by them. */
#ifndef UFM_DEVICE_CUDA_FEW_ROWS_CUH
#define UFM_DEVICE_CUDA_FEW_ROWS_CUH

#include <ufm/backend.h>

typedef struct few_rows {
	uint32_t row[UFM_FEW_ROWS];
} few_rows;

static inline few_rows few_rows_of(const uint32_t *rows, uint32_t n)
{
	few_rows few = {};

	for (uint32_t i = 0; rows && i < n; i++)
		few.row[i] = rows[i];
	return few;
}

#endif
