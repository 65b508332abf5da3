/* SPDX-License-Identifier: MIT */
/* Whether the banks of a sweep have room in host memory, before anything is filled. Pure. */
#ifndef CLI_BENCH_ROOM_H
#define CLI_BENCH_ROOM_H

#include <stdbool.h>

#include "base/limits.h"
#include "cli/bench/config.h"

#define ROOM_LINE_BYTES 320

/*
 * Of a sweep one of whose banks is larger than what can be had here: UFM_ENOMEM, one line with what would run. The
 * smallest counts of what the cgroup leaves, what is available, and, where a mode page-locks, 80 % of it.
 *
 * A virtual machine may be given memory while it runs, so what lies above its total, but within the limit that its
 * cgroup was given, is refused by nobody before it was tried: UFM_OK, and the line is a warning. "": none.
 */
ufm_status room_check(const bench_config *config, const limits *here,
                      char warning[ROOM_LINE_BYTES]);

#endif
