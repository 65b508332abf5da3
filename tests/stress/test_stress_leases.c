/* SPDX-License-Identifier: MIT */
/* 100 seeded schedules of threads that acquire, read and release while a layer runs. What a lease shows
 * must be the right expert for as long as the reader's stream has not passed. */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/hash.h"
#include "base/rng.h"
#include "support/fixture.h"

#define SCHEDULES 100
#define READERS 3
#define ROUNDS 25
#define EXPERTS 12

static uint64_t expected[EXPERTS]; /* hash of each expert's bytes */

typedef struct reader {
	fixture *f;
	uint64_t seed, expert_bytes;
	uint32_t granted, busy, wrong;
} reader;

static uint32_t choose(rng *r, uint32_t *experts)
{
	uint32_t n = 1 + rng_below(r, 2);
	experts[0] = rng_below(r, EXPERTS);
	experts[1] = (experts[0] + 1 + rng_below(r, EXPERTS - 1)) % EXPERTS;
	return n;
}

/* The copies are enqueued, the lease released at once, and only then the stream waited for. */
static void read_lease(reader *me, ufm_lease *lease, const uint32_t *experts, uint32_t n,
                       ufm_stream *stream, uint8_t *buffer)
{
	ufm_engine *e = me->f->engine;
	me->wrong += ufm_acquire_ready(lease, stream, UFM_WAIT_FOREVER) != UFM_OK;
	for (uint32_t i = 0; i < n; i++)
		me->wrong += ufm_copy_to_host(e, stream, buffer + i * me->expert_bytes,
		                              ufm_lease_view(lease, i), me->expert_bytes) != UFM_OK;
	me->wrong += ufm_release(lease, stream) != UFM_OK;
	me->wrong += ufm_stream_sync(e, stream) != UFM_OK;
	for (uint32_t i = 0; i < n; i++)
		me->wrong += hash_bytes(HASH_SEED, buffer + i * me->expert_bytes, me->expert_bytes) !=
		             expected[experts[i]];
}

static void *read_many(void *arg)
{
	reader *me = arg;
	rng r;
	rng_seed(&r, me->seed);
	ufm_stream *stream = NULL;
	uint8_t *buffer = malloc(2 * me->expert_bytes);
	me->wrong += ufm_stream_open(me->f->engine, NULL, &stream) != UFM_OK;
	for (uint32_t i = 0; i < ROUNDS; i++) {
		uint32_t experts[2];
		uint32_t n = choose(&r, experts);
		ufm_lease *lease;
		ufm_status status = ufm_acquire_begin(me->f->engine, 0, experts, n, &lease);
		if (status == UFM_OK)
			read_lease(me, lease, experts, n, stream, buffer);
		me->granted += status == UFM_OK;
		me->busy += status == UFM_EBUSY;
		me->wrong += status != UFM_OK && status != UFM_EBUSY;
		if (rng_below(&r, 3) == 0)
			sched_yield();
	}
	ufm_stream_close(me->f->engine, stream);
	free(buffer);
	return NULL;
}

static void hash_experts(fixture *f, uint64_t expert_bytes)
{
	uint8_t *block = malloc(expert_bytes);
	for (uint32_t i = 0; i < EXPERTS; i++) {
		assert_int_equal(ufm_bank_read(f->bank, 0, i, block), UFM_OK);
		expected[i] = hash_bytes(HASH_SEED, block, expert_bytes);
	}
	free(block);
}

/* Returns how many leases were granted: none, where all came while the layer held the slots. */
static uint32_t run_schedule(fixture *f, uint64_t seed, uint64_t expert_bytes, const uint64_t *want)
{
	pthread_t threads[READERS];
	reader readers[READERS];
	uint32_t granted = 0;
	for (uint32_t i = 0; i < READERS; i++) {
		readers[i] = (reader){.f = f, .seed = rng_mix(seed, i), .expert_bytes = expert_bytes};
		assert_int_equal(pthread_create(&threads[i], NULL, read_many, &readers[i]), 0);
	}
	uint32_t outputs = 0;
	for (uint64_t step = 0; step < 4; step++) {
		ufm_status status = fixture_run(f, step);
		assert_int_equal(status, UFM_OK); /* whatever the leases hold */
		outputs += fixture_hash(f) != want[step];
	}
	for (uint32_t i = 0; i < READERS; i++) {
		pthread_join(threads[i], NULL);
		granted += readers[i].granted;
		if (readers[i].wrong || readers[i].granted + readers[i].busy != ROUNDS)
			fail_msg("seed %llu, reader %u: %u wrong", (unsigned long long)seed, i,
			         readers[i].wrong);
	}
	if (outputs)
		fail_msg("seed %llu: %u outputs with other bits", (unsigned long long)seed, outputs);
	return granted;
}

static void leases_beside_a_running_layer(void **state)
{
	(void)state;
	fixture f;
	uint64_t want[4];
	ufm_engine_info info = {.struct_size = sizeof info};
	/* Every thread that waits tells spans of what has ended; the timeline is too small for all. */
	fixture_config c = {
		.experts = EXPERTS, .slots_max = 7, .tokens = 6, .seed = 9, .timeline_events = 256};
	assert_int_equal(fixture_open(&f, &c), UFM_OK);
	ufm_engine_get_info(f.engine, &info);
	hash_experts(&f, info.expert_bytes);
	for (uint64_t step = 0; step < 4; step++) {
		assert_int_equal(fixture_run(&f, step), UFM_OK);
		want[step] = fixture_hash(&f);
	}
	uint32_t granted = 0;
	for (uint64_t seed = 1; seed <= SCHEDULES; seed++)
		granted += run_schedule(&f, seed, info.expert_bytes, want);
	assert_true(granted > 0);
	/* all pins are gone: as many experts as leases may hold can be had at once */
	uint32_t all[8] = {0, 1, 2, 3, 4, 5, 6, 7};
	ufm_lease *lease;
	assert_int_equal(ufm_acquire_begin(f.engine, 0, all, info.lease_max, &lease), UFM_OK);
	assert_int_equal(ufm_release(lease, NULL), UFM_OK);
	uint64_t failed = fixture_counter(&f, "failed_uses");
	assert_int_equal(fixture_counter(&f, "uses"), fixture_counter(&f, "resident_uses") +
	                                                  fixture_counter(&f, "streamed_uses") +
	                                                  failed);
	fixture_close(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(leases_beside_a_running_layer)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
