/* SPDX-License-Identifier: MIT */
/* Predictions beside what `ufm bench` measured. */
#ifndef CLI_PLAN_AGAINST_H
#define CLI_PLAN_AGAINST_H

#include "cli/plan/config.h"

/* Rows of each file in mode ufm that ended well, each predicted from its own geometry, budget, workload and probed
 * rates. Prints a table and how many are near; a row that cannot be predicted is said, and the exit code is CLI_DATA. */
int against_run(const plan_config *config, const char *const *files, uint32_t count);

#endif
