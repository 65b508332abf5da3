/* SPDX-License-Identifier: MIT */
/*
 * What the model under test reads: the hidden states of every step, and for a trace its routing. A
 * workload is a stream of tokens, numbered from 0; step s takes tokens s*T … s*T + T - 1, T =
 * batch x seq. It depends on the seed and the step number alone, so every run of a sweep reads the
 * same.
 *
 * text   word w at position p: gauss(w) + POSITION * gauss(p)
 * zipf   the same with words drawn from Zipf(S) over 32768
 * uniform, trace, sticky   gauss(p)
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

typedef struct workload_config {
	const char *spec;
	uint64_t seed;
	uint32_t d_model, layers, tokens; /* tokens a step */
	uint32_t sequences;               /* decode: as many as tokens; 0: a step's follow each other */
	uint32_t top_k;                   /* 0: 2, or the ranks of a trace or preset */
	uint32_t experts_min;             /* smallest bank of the sweep: every id of a trace is below */
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
 * workload_for_experts. Token p of the stream has item workload_item(p) of it (workload_int.h). */
struct trace;
const struct trace *workload_routing(const workload *w);

/* Batches bring ids and gates. */
bool workload_routes(const workload *w);

typedef struct workload_batch {
	const float *x; /* [tokens, d_model] */
	/* One layer's routing [tokens, top_k] is at ids + layer * tokens * top_k; NULL: the model's own
	 * routers decide. The gates are the same for all layers. */
	const int32_t *ids;
	const float *gates;
} workload_batch;

/* Makes step `step`; valid until the next call. */
void workload_step(workload *w, uint64_t step, workload_batch *out);

/* The stream was read to its end and begun again by the end of `steps` steps. */
bool workload_wraps(const workload *w, uint64_t steps);

/* Distinct experts a layer should touch in a step, E (1 - (1 - k/E)^T); 0 unless uniform. */
double workload_expected_experts(const workload *w, uint32_t experts);

#endif
