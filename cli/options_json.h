/* SPDX-License-Identifier: MIT */
/* The effective configuration as JSON. */
#ifndef CLI_OPTIONS_JSON_H
#define CLI_OPTIONS_JSON_H

#include <jansson.h>

#include "cli/options.h"

/* {"experts": {"value": [96, 144], "origin": "quick"}, …} in the table's order. */
json_t *options_json(const option_table *table, const void *values, const option_state *state);

#endif
