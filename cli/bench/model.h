/* SPDX-License-Identifier: MIT */
/* The model under test: routed layers in a row, each y = x + moe(norm(x)), with norms made from a seed, and routers
 * from it or by a workload. The hidden state stays on the device between layers. */
#ifndef CLI_BENCH_MODEL_H
#define CLI_BENCH_MODEL_H

#include <ufm/ufm.h>

#include "bank/bank_shape.h"
#include "cli/bench/workload.h"
#include "moe/source.h"

typedef struct model model;

typedef struct model_config {
	bank_shape bank;
	uint32_t tokens; /* a step */
	uint32_t top_k, norm_topk;
	ufm_scoring scoring;
	uint64_t seed;
	bool routed_by_caller; /* batches bring ids and gates: no routers */
	const ufm_bank
		*checkpoint;        /* its routers take the place of those from the seed; NULL: none does */
	const workload *steers; /* its routers take the place of those from the seed; NULL: none does */
} model_config;

/* What it takes of an engine's arena. */
uint64_t model_arena_bytes(const model_config *c);
ufm_status model_open(ufm_engine *engine, const model_config *config, model **out);
void model_close(model *m); /* NULL is allowed; before the engine */

/* Where every layer's experts come from; NULL: the pager. */
void model_set_source(model *m, const moe_source *source);

/* Brings a step's hidden states to the device, and what its routers must be; and the states back. Both wait. y is
 * [tokens, d_model]. */
ufm_status model_upload(model *m, const workload_batch *batch);
ufm_status model_download(model *m, float *y);

/* Whether the layers chose what a workload that steers wants, and where first not. */
typedef struct model_check {
	bool wrong;
	char why[160];
} model_check;

/* Runs all layers and waits for the last. With a check (of a workload that steers; NULL: none) every layer's choice
 * comes back and is compared; wholly resident layers, too, then wait for the host. */
ufm_status model_forward(model *m, const workload_batch *batch, model_check *check);

#endif
