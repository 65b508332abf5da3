/* SPDX-License-Identifier: MIT */
/* A real checkpoint under test: what it says takes the place of options. */
#ifndef CLI_BENCH_CHECKPOINT_H
#define CLI_BENCH_CHECKPOINT_H

#include "cli/bench/config.h"

/* Opens the checkpoint of --model, headers only, and gives its shape, and the rule of its routers where they choose, to the
 * options, with the origin. UFM_EINVAL names an option that says the same; UFM_EFILE, UFM_EFORMAT the file. */
ufm_status bench_checkpoint(bench_config *c, option_state *state, ufm_bank **out);

#endif
