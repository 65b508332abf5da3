/* SPDX-License-Identifier: MIT */
/* What the two halves of the JSON reader share. */
#ifndef UFM_BASE_JSON_PULL_INT_H
#define UFM_BASE_JSON_PULL_INT_H

#include "base/json_pull.h"

/* Records what was found at the reader's place and what was expected; false. */
bool json_pull_unexpected(json_pull *r, const char *expected);

#endif
