/* SPDX-License-Identifier: MIT */
/* The arrays that `ufm forward` reads. */
#ifndef CLI_FORWARD_INPUT_H
#define CLI_FORWARD_INPUT_H

#include "base/npy.h"
#include "cli/forward/config.h"

/* Pairs of a token and an expert in one call. */
#define FORWARD_ROWS_MAX (1u << 30)

typedef struct forward_input {
	npy_array x, gates_array; /* gates_array: zeroed without --gates */
	uint32_t tokens, d_model;
	uint32_t top_k; /* of --ids; 0 without */
	int32_t *ids;   /* [tokens, top_k], or NULL */
} forward_input;

/* Opens and checks --input, --ids and --gates. UFM_EFILE and UFM_EFORMAT name option and file, what was
 * found and what was expected. */
ufm_status forward_input_open(const forward_config *config, forward_input *out);
void forward_input_close(forward_input *input); /* a zeroed one is allowed */

static inline const float *forward_input_gates(const forward_input *input)
{
	return input->gates_array.data;
}

#endif
