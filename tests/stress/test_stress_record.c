/* SPDX-License-Identifier: MIT */
/* Layers of one engine called by threads of their own, resident or not, while another thread reads counters
 * and writes the recording: of every layer the tokens of its calls, in their order. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/npy.h"
#include "support/fixture.h"

#define LAYERS 3
#define TOKENS 4
#define TOP_K 2
#define CALLS 60
#define EXPERTS 8

typedef struct caller {
	fixture *f;
	uint32_t layer, wrong;
} caller;

/* Routing by the caller names the call: token t of call c goes to experts c % 7 and 7, whatever the order
 * among threads. Between these calls come those of the router, whose ids nobody waits for. */
static void *call_layer(void *arg)
{
	caller *me = arg;
	const fixture *f = me->f;
	size_t elements = (size_t)TOKENS * f->c.d_model;
	float *x = calloc(elements, sizeof *x), *y = calloc(elements, sizeof *y);
	const ufm_tokens on_x = {.struct_size = sizeof on_x, .host = x};
	const ufm_tokens on_y = {.struct_size = sizeof on_y, .host = y};
	static const float gates[TOKENS * TOP_K];
	for (uint32_t c = 0; c < CALLS; c++) {
		int32_t ids[TOKENS * TOP_K];
		ufm_moe_call call;
		ufm_ticket ticket;
		UFM_STRUCT_INIT(&call);
		for (uint32_t i = 0; i < TOKENS * TOP_K; i++)
			ids[i] = i % TOP_K ? 7 : (int32_t)(c % 7);
		call.tokens = TOKENS;
		call.x = &on_x;
		call.y = &on_y;
		call.ids = c % 2 ? ids : NULL;
		call.gates = c % 2 ? gates : NULL;
		me->wrong += ufm_moe_forward(f->layers[me->layer], &call, &ticket) != UFM_OK;
		me->wrong += ufm_ticket_wait(f->engine, ticket, UFM_WAIT_FOREVER) != UFM_OK;
	}
	free(x);
	free(y);
	return NULL;
}

/* The calls whose experts are known are where they must be. */
static uint32_t count_wrong(const npy_array *a)
{
	const uint8_t *ids = a->data;
	uint32_t wrong = 0;
	for (uint64_t token = 0; token < a->shape[0]; token++) {
		uint64_t c = token / TOKENS;
		for (uint32_t layer = 0; layer < LAYERS && c % 2; layer++) {
			const uint8_t *event = ids + (token * LAYERS + layer) * TOP_K;
			wrong += event[0] != c % 7 || event[1] != 7;
		}
	}
	return wrong;
}

typedef struct watcher {
	fixture *f;
	const char *path;
	_Atomic bool stop;
	uint32_t wrong;
	uint64_t tokens; /* written last */
} watcher;

static void read_recording(watcher *me)
{
	ufm_routing_info info = {.struct_size = sizeof info};
	npy_array a;
	ufm_status status = ufm_engine_write_routing(me->f->engine, me->path, 1, &info);
	if (status == UFM_EINVAL) /* not every layer was called yet */
		return;
	if (status != UFM_OK || npy_open(me->path, &a) != UFM_OK) {
		me->wrong++;
		return;
	}
	me->wrong += a.shape[0] != info.tokens || info.dropped_tokens || count_wrong(&a);
	me->tokens = info.tokens;
	npy_close(&a);
}

static void *watch(void *arg)
{
	watcher *me = arg;
	while (!atomic_load(&me->stop)) {
		uint64_t values[64];
		ufm_engine_get_counters(me->f->engine, values, 64);
		read_recording(me);
		usleep(200);
	}
	return NULL;
}

static void run(fixture_config c)
{
	fixture f;
	char path[64];
	pthread_t threads[LAYERS], watching;
	caller callers[LAYERS];
	snprintf(path, sizeof path, "/tmp/ufm_stress_%d.npy", (int)getpid());
	assert_int_equal(fixture_open(&f, &c), UFM_OK);
	assert_int_equal(fixture_prefetch_all(&f), UFM_OK);
	watcher w = {.f = &f, .path = path};
	assert_int_equal(pthread_create(&watching, NULL, watch, &w), 0);
	for (uint32_t i = 0; i < LAYERS; i++) {
		callers[i] = (caller){&f, i, 0};
		assert_int_equal(pthread_create(&threads[i], NULL, call_layer, &callers[i]), 0);
	}
	for (uint32_t i = 0; i < LAYERS; i++) {
		pthread_join(threads[i], NULL);
		assert_int_equal(callers[i].wrong, 0);
	}
	atomic_store(&w.stop, true);
	pthread_join(watching, NULL);
	read_recording(&w);
	assert_int_equal(w.wrong, 0);
	assert_int_equal(w.tokens, CALLS * TOKENS);
	unlink(path);
	fixture_close(&f);
}

static fixture_config shape(void)
{
	return (fixture_config){.layers = LAYERS,
	                        .experts = EXPERTS,
	                        .timeline_events = 256,
	                        .top_k = TOP_K,
	                        .tokens = TOKENS,
	                        .routing_bytes = (uint64_t)CALLS * TOKENS * LAYERS * TOP_K * 2};
}

static void layers_recorded_side_by_side(void **state)
{
	(void)state;
	fixture_config c = shape();
	run(c); /* all resident */
	c.slots_max = 11;
	run(c); /* as many as the others leave slots for */
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(layers_recorded_side_by_side)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
