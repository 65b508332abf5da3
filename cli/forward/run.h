/* SPDX-License-Identifier: MIT */
/* One run of `ufm forward`, from opening the weights to closing everything. */
#ifndef CLI_FORWARD_RUN_H
#define CLI_FORWARD_RUN_H

#include "bank/bank_shape.h"
#include "cli/forward/input.h"

typedef struct forward_result {
	bool
		out_of_memory; /* of the device in mode baseline: a report without output, and no success */
	int exit_code;
	char error[MODE_ERROR_BYTES]; /* "" when all went well */

	bank_shape bank;  /* of the one layer */
	char prefix[256]; /* of its tower, where the option leaves it open */
	bool opened;      /* the engine was opened: what follows is known */
	ufm_engine_info engine;
	char backend[64], device[128], cpu_assist[256]; /* copies: the engine is gone */
	bool deterministic;
	uint64_t counters[COUNTER_COUNT]; /* of the layer's call alone */
	uint64_t peak_bytes;              /* most device memory held or in use */
	uint64_t load_ns;                 /* weights into the host tier */
	uint64_t place_ns;                /* the engine, the router, and in baseline every expert */
	uint64_t forward_ns;              /* the call: tokens to the device, layer, result back */
} forward_result;

/* Computes y [tokens, d_model]. Fills what options leave open, with origins. What goes wrong ends in the
 * result. */
void forward_run(forward_config *config, option_state *state, const forward_input *input, float *y,
                 forward_result *out);

#endif
