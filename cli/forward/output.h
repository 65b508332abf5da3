/* SPDX-License-Identifier: MIT */
/* The file that `ufm forward` writes: whole, or not at all. */
#ifndef CLI_FORWARD_OUTPUT_H
#define CLI_FORWARD_OUTPUT_H

#include <limits.h>
#include <stdbool.h>
#include <ufm/ufm.h>

typedef struct forward_output {
	char path[PATH_MAX]; /* links followed */
	bool replaces;       /* there was a file of that name */
	char unfinished[PATH_MAX +
	                32]; /* in the same folder; "" for a device or pipe, written straight */
} forward_output;

/* Before the work: fails if the file could not be created, and leaves nothing. UFM_EFILE names
 * --output, the path and the cause. */
ufm_status forward_output_open(const char *path, forward_output *out);
/* Writes f4 [tokens, d_model] beside the file; nothing is left of it on failure. A device or pipe
 * has it all then. */
ufm_status forward_output_write(const forward_output *out, uint32_t tokens, uint32_t d_model,
                                const float *y);

/* Puts what was written in the place of an earlier file of that name. */
ufm_status forward_output_commit(const forward_output *out);

#endif
