/* SPDX-License-Identifier: MIT */
/* Budgets as people list them. */
#ifndef CLI_PLAN_BUDGETS_H
#define CLI_PLAN_BUDGETS_H

#include "cli/plan/division.h"

#define BUDGETS_MAX 64

typedef struct budget_list {
	uint32_t count;
	uint64_t target_bytes[BUDGETS_MAX]; /* ascending where they were chosen, else as listed */
} budget_list;

/* UFM_EINVAL unless it is auto, or sizes and percentages above 0 up to 100, separated by commas. */
ufm_status budgets_check(const char *text);
/* auto: sizes that cards have, up to most_bytes (0: any), and the budget that holds all if it is below; tenths of the
 * experts where that makes fewer than three. */
void budgets_of(const char *text, const division *d, uint64_t most_bytes, budget_list *out);

#endif
