/* SPDX-License-Identifier: MIT */
/*
 * What the model under test reads: the hidden states of every step, and for a trace its routing. A
 * workload is a stream of tokens, numbered from 0; step s takes tokens s*T … s*T + T - 1, T =
 * batch x seq. It depends on the seed and the step number alone, so every run of a sweep reads the
 * same.
 *
 * text   word w at position p: gauss(w) + POSITION * gauss(p)
 * zipf   the same with words drawn from Zipf(S) over 32768
 * uniform, trace, sticky   gauss(p), and for the two last an element that their routers read
 *
 * In decode the tokens of a step belong to different sequences: sequence b of B begins b/B of the way into
 * the text or trace, and each step takes the next token of every one.
 *
 * A text or trace (a sticky router makes one) that ends is read again, each time one token later, and
 * positions go on counting:
 * no two steps are alike.
 */
#ifndef CLI_BENCH_WORKLOAD_H
#define CLI_BENCH_WORKLOAD_H

#include <stdbool.h>
#include <stdint.h>
#include <ufm/ufm.h>

typedef struct workload workload;

/* UFM_EINVAL unless `text` has one of the five forms. Opens nothing. */
ufm_status workload_check_spec(const char *text);
/* Of a checked one: whether routing is part of it, as in a trace. */
bool workload_spec_routes(const char *text);

typedef struct workload_config {
	const char *spec;
	uint64_t seed;
	uint32_t d_model, layers, tokens; /* tokens a step */
	uint32_t sequences;               /* decode: as many as tokens; 0: a step's follow each other */
	uint32_t top_k;                   /* 0: 2, or the ranks of a trace or preset */
	uint32_t experts_min;             /* smallest bank of the sweep: every id of a trace is below */
	bool ids_ahead; /* trace, sticky: batches bring the routing, instead of the model's routers */
} workload_config;

/* UFM_EINVAL, UFM_ENOMEM; for an input file UFM_EFILE or UFM_EFORMAT naming it. */
ufm_status workload_open(const workload_config *config, workload **out);
void workload_close(workload *w); /* NULL is allowed */

/* Resolved: config.top_k, or what it defaults to, and why ("default", "ranks of the trace" or "of the
 * router's preset"). */
uint32_t workload_top_k(const workload *w);
const char *workload_top_k_origin(const workload *w);

/* The next steps are for a bank of so many experts, at least experts_min: a sticky router knows them all.
 * UFM_ENOMEM, UFM_EINVAL; then no step may follow. */
ufm_status workload_for_experts(workload *w, uint32_t experts);

/* The routing that the steps follow, of all its layers; NULL: the model's own routers decide. Valid until the next
 * workload_for_experts. Token p of the stream has item trace_item(p) of it (trace/trace.h). */
struct trace;
const struct trace *workload_routing(const workload *w);

/* Batches bring ids and gates. */
bool workload_routes(const workload *w);
/* Its routing is made by the model's routers, whose weights are workload_router's. */
bool workload_steers(const workload *w);

/*
 * Routers that choose what a trace says, so that ids come from the device as in a model.
 *
 * The token at a step's place reads one column of every layer's router: its hidden state is far larger in one
 * element than in all others, and the column holds large logits for the token's experts. There are d_model
 * columns, which serve the steps of one window; then routers need new weights. Of a step with more tokens than
 * that the tokens share columns, and with them the choice: the token at place i is routed as the one at place i
 * modulo d_model.
 */

/* The window of a step; numbers rise by one. */
uint64_t workload_window(const workload *w, uint64_t step);
/* A layer's router for a window, [experts, d_model], where `norm` [d_model] are the weights of the RMS norm
 * before it. */
void workload_router(const workload *w, uint64_t window, uint32_t layer, const float *norm,
                     uint32_t experts, float *weights);

typedef struct workload_batch {
	const float *x; /* [tokens, d_model] */
	/* One layer's routing [tokens, top_k] is at ids + layer * tokens * top_k, the gates are the same for all
	 * layers; NULL: the model's own routers decide. */
	const int32_t *ids;
	const float *gates;
	/* What routers of `window` choose, laid out as ids; NULL unless the workload steers them. */
	const int32_t *chosen;
	uint64_t window;
} workload_batch;

/* Makes step `step`; valid until the next call. */
void workload_step(workload *w, uint64_t step, workload_batch *out);

/* The stream was read to its end and begun again by the end of `steps` steps. */
bool workload_wraps(const workload *w, uint64_t steps);

/* Distinct experts a layer should touch in a step, E (1 - (1 - k/E)^T); 0 unless uniform. */
double workload_expected_experts(const workload *w, uint32_t experts);

#endif
