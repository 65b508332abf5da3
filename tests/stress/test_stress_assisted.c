/* SPDX-License-Identifier: MIT */
/* Layers whose misses are shared by link and CPU, while other threads lease, prefetch and read counters:
 * the right bits, and nothing stuck. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/rng.h"
#include "device/registry.h"
#include "support/fixture.h"

#define SCHEDULES 24
#define STEPS 12
#define EXPERTS 14

typedef struct disturber {
	fixture *f;
	uint64_t seed;
	_Atomic bool *stop;
	uint32_t wrong, granted;
} disturber;

static void lease_one(disturber *me, uint32_t expert)
{
	ufm_lease *lease;
	ufm_status status = ufm_acquire_begin(me->f->engine, 0, &expert, 1, &lease);
	if (status == UFM_OK)
		me->granted++;
	else
		me->wrong += status != UFM_EBUSY;
	if (status == UFM_OK)
		me->wrong += ufm_release(lease, NULL) != UFM_OK;
}

static void *disturb(void *arg)
{
	disturber *me = arg;
	rng r;
	rng_seed(&r, me->seed);
	while (!atomic_load(me->stop)) {
		uint32_t expert = rng_below(&r, EXPERTS);
		uint64_t values[64];
		if (rng_below(&r, 2))
			lease_one(me, expert);
		else
			me->wrong += ufm_prefetch(me->f->engine, 0, &expert, 1) != UFM_OK;
		ufm_engine_get_counters(me->f->engine, values, 64);
		usleep(300); /* hints alone could keep the link busy for ever */
	}
	return NULL;
}

static fixture_config shape(uint64_t seed)
{
	return (fixture_config){.experts = EXPERTS,
	                        .top_k = 5,
	                        .tokens = 7 + (uint32_t)(seed % 3) * 20,
	                        .max_tokens = seed % 4 ? 0 : 5,
	                        .d_model = 33,
	                        .d_hidden = 50,
	                        .slots_max = 5,
	                        .seed = seed % 3};
}

#define ELEMENTS (47 * 33) /* of the largest shape */

/* Outputs of the steps with the path off. */
static void expect(fixture_config c, float want[STEPS][ELEMENTS])
{
	fixture f;
	assert_int_equal(fixture_open(&f, &c), UFM_OK);
	for (uint64_t step = 0; step < STEPS; step++) {
		assert_int_equal(fixture_run(&f, step), UFM_OK);
		memcpy(want[step], f.y, (size_t)f.c.tokens * f.c.d_model * sizeof *f.y);
	}
	fixture_close(&f);
}

static void run_schedule(uint64_t seed, uint64_t *computed)
{
	static const uint32_t shares[] = {0, 40, 100};
	fixture_config c = shape(seed);
	static float want[STEPS][ELEMENTS];
	fixture f;
	expect(c, want);
	c.cpu_assist = UFM_CPU_ON;
	c.cpu_threads = 1 + (uint32_t)seed % 3;
	c.cpu_share_percent = shares[seed % 3];
	c.link_gbps = seed % 2 && fixture_backend() == &cpu_backend ? 0.5 : 0;
	assert_int_equal(fixture_open(&f, &c), UFM_OK);
	_Atomic bool stop = false;
	disturber others[2];
	pthread_t threads[2];
	for (uint32_t i = 0; i < 2; i++) {
		others[i] = (disturber){.f = &f, .seed = 10 * seed + i, .stop = &stop};
		assert_int_equal(pthread_create(&threads[i], NULL, disturb, &others[i]), 0);
	}
	for (uint64_t step = 0; step < STEPS; step++) {
		assert_int_equal(fixture_run(&f, step), UFM_OK);
		assert_true(fixture_agrees(&f, want[step]));
	}
	atomic_store(&stop, true);
	for (uint32_t i = 0; i < 2; i++) {
		pthread_join(threads[i], NULL);
		assert_int_equal(others[i].wrong, 0);
	}
	assert_int_equal(fixture_counter(&f, "failed_uses"), 0);
	*computed += fixture_counter(&f, "cpu_uses");
	fixture_close(&f);
}

static void shared_layers_among_leases(void **state)
{
	(void)state;
	uint64_t computed = 0;
	for (uint64_t seed = 0; seed < SCHEDULES; seed++)
		run_schedule(seed, &computed);
	assert_true(computed > SCHEDULES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(shared_layers_among_leases)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
