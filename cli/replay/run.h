/* SPDX-License-Identifier: MIT */
/* Every combination that `ufm replay` was asked for, over one trace. */
#ifndef CLI_REPLAY_RUN_H
#define CLI_REPLAY_RUN_H

#include <jansson.h>

#include "cli/replay/config.h"

/* Appends rows to the array. UFM_EINVAL for what does not suit the trace, UFM_ENOMEM. */
ufm_status replay_rows(const replay_options *options, const char *name, const trace *t,
                       json_t *rows);
ufm_status replay_predictions(const replay_options *options, const char *name, const trace *t,
                              json_t *rows);

/* The core's configuration of one combination. */
replay_config replay_config_of(const replay_options *options, const trace *t, replay_scope scope,
                               uint32_t batch, uint32_t slots, const ufm_policy *policy);

#endif
