/* SPDX-License-Identifier: MIT */
/* Budgets as people list them. */
#ifndef CLI_PLAN_BUDGETS_H
#define CLI_PLAN_BUDGETS_H

#include "plan/ladder.h"

/* UFM_EINVAL unless it is auto, or sizes and percentages above 0 up to 100, separated by commas. */
ufm_status budgets_check(const char *text);
/* auto: sizes that cards have, up to most_bytes (0: any), and the budget that holds all if it is below; tenths of the
 * experts where that makes fewer than three. */
void budgets_of(const char *text, const division *d, uint64_t most_bytes, budget_list *out);

#endif
