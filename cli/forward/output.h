/* SPDX-License-Identifier: MIT */
/* The file that `ufm forward` writes: whole, or not at all. */
#ifndef CLI_FORWARD_OUTPUT_H
#define CLI_FORWARD_OUTPUT_H

#include <stdbool.h>
#include <ufm/ufm.h>

#include "cli/output.h"

typedef struct forward_output {
	const char *path; /* the caller's */
	bool replaces;    /* there was a file of that name */
	bool special;     /* a device or pipe, written straight */
	replacement file; /* else, once it is written */
} forward_output;

/* Before the work: fails if the file could not be created, and leaves nothing. UFM_EFILE names
 * --output, the path and the cause. */
ufm_status forward_output_open(const char *path, forward_output *out);
/* Writes f4 [tokens, d_model] beside the file; nothing is left of it on failure. A device or pipe
 * has it all then. */
ufm_status forward_output_write(forward_output *out, uint32_t tokens, uint32_t d_model,
                                const float *y);

/* Puts what was written in the place of an earlier file of that name. */
ufm_status forward_output_commit(forward_output *out);

#endif
