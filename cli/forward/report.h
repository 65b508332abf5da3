/* SPDX-License-Identifier: MIT */
/* What `ufm forward` prints on standard output. */
#ifndef CLI_FORWARD_REPORT_H
#define CLI_FORWARD_REPORT_H

#include <jansson.h>

#include "cli/forward/run.h"
#include "cli/sheet.h"

/* The run as JSON: the one place that knows the fields (docs/forward.md). */
json_t *forward_json(const forward_config *config, const option_state *state,
                     const forward_input *input, const forward_result *result);
/* For people, from that JSON. */
void forward_markdown(sheet *to, const json_t *run);

#endif
