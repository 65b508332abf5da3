/* SPDX-License-Identifier: MIT */
/* The effective configuration as a paragraph. */
#ifndef CLI_OPTIONS_MARKDOWN_H
#define CLI_OPTIONS_MARKDOWN_H

#include <jansson.h>

#include "cli/options.h"
#include "cli/sheet.h"

/* "Configuration: experts 96,144 (quick), …": every value of an options_json that is not null and,
 * unless it is the default, where it came from. */
void options_markdown(sheet *to, const option_table *table, json_t *config);

#endif
