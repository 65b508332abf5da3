/* SPDX-License-Identifier: MIT */
/* Experts with random weights on the device, rows for them, and their results in float64. */
#ifndef UFM_TESTS_EXPERT_BANK_H
#define UFM_TESTS_EXPERT_BANK_H

#include "conformance.h"

#define BANK_ENTRIES_MAX 16

typedef struct expert_bank {
	ufm_expert_desc *desc;
	uint32_t entries, rows;
	unsigned char *blocks[BANK_ENTRIES_MAX];
	ufm_expert_desc plain; /* the same experts in f32 */
	unsigned char *plain_blocks[BANK_ENTRIES_MAX];
	ufm_expert_rows *table; /* page-locked */
	float *x, *y, *again;
	double *ref, *hidden;
	double terms; /* of the largest sum that the reference has formed, their sizes added up */
	ufm_devptr x_at, hidden_at, y_at;
	ufm_math math; /* 0: what is usual */
	/* as ufm_experts_args has them */
	ufm_dtype x_dtype;
	const uint32_t *call_rows;
} expert_bank;

/* An expert for each entry, with so many rows. */
void expert_bank_open(expert_bank *k, const ufm_expert_desc *desc, const uint32_t *rows,
                      uint32_t entries);
void expert_bank_close(expert_bank *k);

/* Entries first … first + count - 1 into y. */
void expert_bank_run(const expert_bank *k, uint32_t first, uint32_t count, ufm_devptr y);
size_t expert_bank_y_bytes(const expert_bank *k);

/* Runs all entries with every arithmetic that the device says it has, and fails where one is further from float64
 * than it may be. `what` names the experts. */
void expert_bank_check(const char *what, const ufm_expert_desc *desc, const uint32_t *rows,
                       uint32_t entries);

#endif
