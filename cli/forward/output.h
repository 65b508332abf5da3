/* SPDX-License-Identifier: MIT */
/* The file that `ufm forward` writes: whole, or not at all. */
#ifndef CLI_FORWARD_OUTPUT_H
#define CLI_FORWARD_OUTPUT_H

#include <limits.h>
#include <stdbool.h>
#include <ufm/ufm.h>

typedef struct forward_output {
	char path[PATH_MAX]; /* links followed */
	char unfinished[PATH_MAX +
	                32]; /* in the same folder; "" for a device or pipe, written straight */
} forward_output;

/* Before the work: fails if the file could not be created, and leaves nothing. UFM_EFILE names
 * --output, the path and the cause. */
ufm_status forward_output_open(const char *path, forward_output *out);
/* Writes f4 [tokens, d_model]. An earlier file of that name is replaced on success only. */
ufm_status forward_output_write(const forward_output *out, uint32_t tokens, uint32_t d_model,
                                const float *y);

#endif
