/* SPDX-License-Identifier: MIT */
/* A small model on an engine, for tests of the pager and layer levels. */
#ifndef UFM_TESTS_FIXTURE_H
#define UFM_TESTS_FIXTURE_H

#include <stdbool.h>
#include <ufm/backend.h>

#include "support/arithmetic.h"
#include "support/storage.h"

#define FIXTURE_LAYERS_MAX 4

typedef struct fixture_config {
	uint32_t layers, experts, d_model, d_hidden, top_k, tokens; /* 0: 1, 8, 24, 40, 2, 16 */
	ufm_expert_kind kind;                                       /* 0: UFM_EXPERT_MLP_BIAS */
	const arithmetic *arithmetic; /* instead of a kind, with biases on all matrices; or NULL */
	ufm_dtype dtype;              /* 0: UFM_F32 */
	const storage *
		storage; /* of the matrices, instead of that dtype, or NULL; dimensions of 0 are 256 and 512 */
	ufm_bank *bank; /* NULL: a synthetic one of this kind and dtype, by the seed */
	const char *policy;
	uint32_t slots_max, ring_slots, resident_all, max_tokens; /* max_tokens 0: tokens */
	uint32_t no_residual, norm_topk, no_router;
	uint32_t no_poison; /* 1: slots are not filled with NaN before they are refilled */
	uint64_t vram_target_bytes, headroom_bytes, vram_limit_bytes;
	const char *store_filter;
	const ufm_backend *backend; /* NULL: fixture_backend() */
	uint64_t seed;
	uint32_t cpu_assist; /* 0: UFM_CPU_OFF */
	uint32_t cpu_threads, cpu_share_percent;
	double link_gbps;
	uint32_t timeline_events;
	uint64_t routing_bytes;
	ufm_math math;
} fixture_config;

typedef struct fixture {
	fixture_config c;
	ufm_bank *bank;
	ufm_host *host;
	ufm_engine *engine;
	ufm_layer *layers[FIXTURE_LAYERS_MAX];
	float *x, *y;                  /* [tokens, d_model] */
	ufm_tokens x_tokens, y_tokens; /* what lies there, for calls */
	float *router, *norm;          /* of the layer opened last */
} fixture;

/* The backend named by UFM_TEST_BACKEND, else cpu; aborts where that cannot be had. */
const ufm_backend *fixture_backend(void);

/* Bytes that its devices map at once. */
uint64_t fixture_granule(void);

/* On failure everything is closed and the status returned. */
ufm_status fixture_open(fixture *f, const fixture_config *config);
void fixture_close(fixture *f);

/* Hints at every expert of every layer: with slots for all, layers are resident from then on. */
ufm_status fixture_prefetch_all(fixture *f);

/* Fresh Gaussian x for a step number. */
void fixture_fill_x(fixture *f, uint64_t step);
/* x through all layers, y into f->y; returns after the last ticket. */
ufm_status fixture_run(fixture *f, uint64_t step);
/* Whether f->y is what another way to compute it gave: every bit on the cpu backend, whose kernels the CPU
 * path shares; elsewhere sums round in another order, and 1e-5 of the largest element is allowed. */
bool fixture_agrees(const fixture *f, const float *want);
/* Hash of f->y. */
uint64_t fixture_hash(const fixture *f);

uint64_t fixture_counter(fixture *f, const char *name);
/* 0 when every counter identity holds, else the line number of the first that does not. */
int fixture_identities(fixture *f);

#endif
