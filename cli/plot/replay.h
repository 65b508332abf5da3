/* SPDX-License-Identifier: MIT */
/* The figure of `ufm replay`: hit rate against capacity, with the bound as the ceiling. */
#ifndef CLI_PLOT_REPLAY_H
#define CLI_PLOT_REPLAY_H

#include <stdbool.h>
#include <ufm/ufm.h>

/* Reads FOLDER/replay.jsonl, draws FOLDER/hit_rate: a panel for each trace, scope and batch. Errors and
 * *drawing as of plot_folder. */
ufm_status plot_replay(const char *folder, bool *drawing);

#endif
