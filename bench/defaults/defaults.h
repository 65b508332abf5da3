/* SPDX-License-Identifier: MIT */
/* What the files of bench/defaults share: a case, the engines that run it, and how a failure ends. */
#ifndef BENCH_DEFAULTS_H
#define BENCH_DEFAULTS_H

#include <stddef.h>
#include <stdint.h>

#include <ufm/ufm.h>

#define STEPS_MAX 100000u /* of a window */

/* A config as large as it was when `last` was its last field: a library of that time refuses a larger one. */
#define SIZE_TO(type, last) (offsetof(type, last) + sizeof(((type *)0)->last))

typedef struct options {
	const char *trace, *residency, *phases, *assist, *backend, *label;
	uint32_t layers, experts, top_k, d_model, d_hidden, compute_threads, cpu_threads, rounds;
	uint32_t decode_steps, decode_warmup, prefill_steps, prefill_warmup;
	double seconds, link_gbps;
	ufm_dtype dtype;
	ufm_math math;
} options;

/* Ids of the trace, [tokens, layers, top_k], and the routers that make them, [layers, experts, d_model]. */
typedef struct routing {
	uint32_t tokens, layers, ranks;
	uint16_t *ids;
	float *routers;
} routing;

/* What a step is: `tokens` of it, and how often. */
typedef struct phase {
	const char *name;
	uint32_t tokens, steps, warmup;
} phase;

typedef struct way {
	ufm_engine *engine;
	ufm_layer **layers;
	ufm_devptr x, y;
	const char *assist;
	uint32_t at, warmed; /* steps so far */
	uint64_t ids_off;    /* chosen, but not in the trace */
} way;

typedef struct bench {
	options o;
	routing r;
	ufm_host *host;
	ufm_bank_info bank;
	const char *residency;
	phase phase;
	float *x; /* of a step in host memory; of prefill so many rows that every step begins in them */
	uint32_t rows;    /* of x */
	int32_t *ids_out; /* [tokens, top_k] */
} bench;

/* Ends the program with one line. */
__attribute__((noreturn, format(printf, 1, 2))) void stop(const char *format, ...);
void must(ufm_status status, const char *what);
/* Zeroed memory, or the program ends. */
void *zeroed(size_t count, size_t size);
double now_s(void);

/* The first d_model tokens of --trace, and routers that choose as it does. */
routing routing_read(const options *o);
const uint16_t *routing_event(const routing *r, uint32_t token, uint32_t layer);

/* Fills b->x with the tokens of a step, of prefill with all that its steps begin in. */
void way_rows(bench *b, uint32_t step);
/* An engine with its layers for the case of `b`, whose CPU path is w->assist. */
void way_open(bench *b, way *w);
void way_warm_up(bench *b, way *w);
void way_step(bench *b, way *w, int check);
void way_close(const bench *b, way *w);

/* Measures the steps of one window and prints its line. */
void window_measure(bench *b, way *w, uint32_t round);

#endif
