/* SPDX-License-Identifier: MIT */
/* Calls that return when all is done: the same bits, done at once, from several threads. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/assert_error.h"
#include "support/fixture.h"

#define TOKENS 5u
#define WIDTH 24u

static void open_model(fixture *f, fixture_config c)
{
	c.tokens = TOKENS;
	if (fixture_open(f, &c) != UFM_OK)
		fail_msg("open: %s", ufm_last_error());
	fixture_fill_x(f, 1);
}

static ufm_moe_call call_of(fixture *f, const ufm_tokens *y, uint32_t wait)
{
	ufm_moe_call call;
	UFM_STRUCT_INIT(&call);
	call.tokens = TOKENS;
	call.x = &f->x_tokens;
	call.y = y;
	call.wait = wait;
	return call;
}

static ufm_tokens tokens_at(float *host)
{
	ufm_tokens t;
	UFM_STRUCT_INIT(&t);
	t.host = host;
	return t;
}

static void the_same_bits(void **state)
{
	(void)state;
	const fixture_config models[] = {{.resident_all = 1},
	                                 {.slots_max = 2},
	                                 {.slots_max = 3, .dtype = UFM_BF16, .kind = UFM_EXPERT_GATED},
	                                 {.slots_max = 3, .link_gbps = 0.5},
	                                 {.slots_max = 3, .max_tokens = 2},
	                                 {.slots_max = 3, .cpu_assist = UFM_CPU_ON, .cpu_threads = 2}};
	for (uint32_t m = 0; m < sizeof models / sizeof *models; m++) {
		fixture f;
		float waited[TOKENS * WIDTH], later[TOKENS * WIDTH];
		const ufm_tokens y_waited = tokens_at(waited), y_later = tokens_at(later);
		ufm_ticket ticket = {0};
		if (models[m].link_gbps > 0 && strcmp(fixture_backend()->name, "cpu") != 0)
			continue; /* a device with a link of its own */
		open_model(&f, models[m]);
		for (uint32_t round = 0; round < 20; round++) {
			fixture_fill_x(&f, round);
			ufm_moe_call call = call_of(&f, &y_later, 0);
			assert_int_equal(ufm_moe_forward(f.layers[0], &call, &ticket), UFM_OK);
			assert_int_equal(ufm_ticket_wait(f.engine, ticket, UFM_WAIT_FOREVER), UFM_OK);
			memset(waited, 0xff, sizeof waited);
			call = call_of(&f, &y_waited, 1);
			assert_int_equal(ufm_moe_forward(f.layers[0], &call, round % 2 ? &ticket : NULL),
			                 UFM_OK);
			memcpy(f.y, waited, sizeof waited);
			assert_true(fixture_agrees(&f, later)); /* to the bit on the cpu backend */
			if (models[m].cpu_assist == 0)
				assert_memory_equal(waited, later, sizeof later);
			assert_int_equal(ufm_ticket_wait(f.engine, ticket, 0), UFM_OK);
		}
		assert_int_equal(fixture_identities(&f), 0);
		fixture_close(&f);
	}
}

static void nothing_to_do(void **state)
{
	(void)state;
	fixture f;
	open_model(&f, (fixture_config){.slots_max = 2});
	ufm_moe_call call = call_of(&f, &f.y_tokens, 1);
	call.tokens = 0;
	assert_int_equal(ufm_moe_forward(f.layers[0], &call, NULL), UFM_OK);
	fixture_close(&f);
}

static void a_failed_call_leaves_the_stream_as_it_was(void **state)
{
	(void)state;
	fixture f;
	float y[TOKENS * WIDTH];
	const ufm_tokens to = tokens_at(y), nowhere = tokens_at(NULL);
	open_model(&f, (fixture_config){.slots_max = 2});
	ufm_moe_call call = call_of(&f, &to, 1);
	call.x = &nowhere;
	assert_int_equal(ufm_moe_forward(f.layers[0], &call, NULL), UFM_EINVAL);
	call = call_of(&f, &to, 1);
	assert_int_equal(ufm_moe_forward(f.layers[0], &call, NULL), UFM_OK);
	assert_int_equal(fixture_run(&f, 2), UFM_OK);
	assert_int_equal(fixture_identities(&f), 0);
	fixture_close(&f);
}

/* ---- several threads, each with a stream of its own */

static bool same(const float *a, const float *b)
{
	uint32_t i = 0;
	while (i < TOKENS * WIDTH && a[i] == b[i])
		i++;
	return i == TOKENS * WIDTH;
}

typedef struct caller {
	pthread_t thread;
	fixture *f;
	const float *want;
	uint32_t wait;
	bool good;
} caller;

static void *call_often(void *arg)
{
	caller *c = arg;
	float y[TOKENS * WIDTH];
	const ufm_tokens to = tokens_at(y);
	ufm_stream *stream = NULL;
	ufm_ticket ticket;
	c->good = ufm_stream_open(c->f->engine, NULL, &stream) == UFM_OK;
	for (uint32_t i = 0; i < 60 && c->good; i++) {
		ufm_moe_call call = call_of(c->f, &to, (i + c->wait) % 2);
		call.stream = i % 3 ? stream : NULL;
		memset(y, 0xff, sizeof y);
		c->good = ufm_moe_forward(c->f->layers[0], &call, &ticket) == UFM_OK &&
		          ufm_ticket_wait(c->f->engine, ticket, UFM_WAIT_FOREVER) == UFM_OK &&
		          same(y, c->want);
	}
	ufm_stream_close(c->f->engine, stream);
	return NULL;
}

static void several_threads(void **state)
{
	(void)state;
	for (uint32_t resident = 0; resident < 2; resident++) {
		fixture f;
		caller callers[3];
		open_model(&f, (fixture_config){.slots_max = resident ? 0 : 3, .resident_all = resident});
		assert_int_equal(fixture_run(&f, 1), UFM_OK);
		for (uint32_t i = 0; i < 3; i++) {
			callers[i] = (caller){.f = &f, .want = f.y, .wait = i};
			assert_int_equal(pthread_create(&callers[i].thread, NULL, call_often, &callers[i]), 0);
		}
		for (uint32_t i = 0; i < 3; i++) {
			pthread_join(callers[i].thread, NULL);
			assert_true(callers[i].good);
		}
		assert_int_equal(fixture_identities(&f), 0);
		fixture_close(&f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_same_bits),
		cmocka_unit_test(nothing_to_do),
		cmocka_unit_test(a_failed_call_leaves_the_stream_as_it_was),
		cmocka_unit_test(several_threads),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
