/* SPDX-License-Identifier: MIT */
/* Seeded schedules of threads that lease, and of one that resizes, while a layer runs. Leases show the
 * right expert, outputs keep their bits, and the device never holds more than the budget. */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/rng.h"
#include "base/size.h"
#include "support/fixture.h"

#define SCHEDULES 40
#define READERS 2
#define ROUNDS 15
#define STEPS 4
#define EXPERTS 12
#define SLOTS_LEAST 5 /* so that leases of two are always possible */

typedef struct shared {
	fixture f;
	uint8_t *blocks[EXPERTS];
	uint64_t expert_bytes;
	uint64_t largest_bytes; /* of all budgets */
	uint64_t targets[EXPERTS + 1];
	_Atomic bool stop;
	_Atomic uint32_t wrong, resized, refused, granted;
} shared;

typedef struct worker {
	shared *s;
	uint64_t seed;
} worker;

static void expect(shared *s, bool holds)
{
	if (!holds)
		atomic_fetch_add(&s->wrong, 1);
}

/* ------------------------------------------------------------------ threads */

/* Copies out of the lease are enqueued, the lease is released, and only then the stream waited for. */
static void read_lease(shared *s, ufm_lease *lease, const uint32_t *experts, uint32_t n,
                       ufm_stream *stream, uint8_t *buffer)
{
	ufm_engine *e = s->f.engine;
	expect(s, ufm_acquire_ready(lease, stream, UFM_WAIT_FOREVER) == UFM_OK);
	for (uint32_t i = 0; i < n; i++)
		expect(s, ufm_copy_to_host(e, stream, buffer + i * s->expert_bytes,
		                           ufm_lease_view(lease, i), s->expert_bytes) == UFM_OK);
	expect(s, ufm_release(lease, stream) == UFM_OK);
	expect(s, ufm_stream_sync(e, stream) == UFM_OK);
	for (uint32_t i = 0; i < n; i++)
		expect(s,
		       memcmp(buffer + i * s->expert_bytes, s->blocks[experts[i]], s->expert_bytes) == 0);
}

static void *read_many(void *arg)
{
	worker *me = arg;
	shared *s = me->s;
	rng r;
	rng_seed(&r, me->seed);
	ufm_stream *stream = NULL;
	uint8_t *buffer = malloc(2 * s->expert_bytes);
	expect(s, ufm_stream_open(s->f.engine, NULL, &stream) == UFM_OK);
	for (uint32_t i = 0; i < ROUNDS; i++) {
		uint32_t n = 1 + rng_below(&r, 2), experts[2] = {rng_below(&r, EXPERTS)};
		experts[1] = (experts[0] + 1 + rng_below(&r, EXPERTS - 1)) % EXPERTS;
		ufm_lease *lease;
		ufm_status status = ufm_acquire_begin(s->f.engine, 0, experts, n, &lease);
		expect(s, status == UFM_OK || status == UFM_EBUSY);
		if (status == UFM_OK) {
			read_lease(s, lease, experts, n, stream, buffer);
			atomic_fetch_add(&s->granted, 1);
		}
		if (rng_below(&r, 3) == 0)
			expect(s, ufm_prefetch(s->f.engine, 0, experts, n) == UFM_OK);
	}
	ufm_stream_close(s->f.engine, stream);
	free(buffer);
	return NULL;
}

static void *resize_many(void *arg)
{
	worker *me = arg;
	shared *s = me->s;
	rng r;
	rng_seed(&r, me->seed);
	while (!atomic_load(&s->stop)) {
		uint64_t target = s->targets[SLOTS_LEAST + rng_below(&r, EXPERTS + 1 - SLOTS_LEAST)];
		ufm_status status = ufm_engine_resize(s->f.engine, target);
		expect(s, status == UFM_OK || status == UFM_EBUSY);
		atomic_fetch_add(status == UFM_OK ? &s->resized : &s->refused, 1);
		ufm_engine_memory memory = {.struct_size = sizeof memory};
		ufm_engine_get_memory(s->f.engine, &memory);
		if (status == UFM_OK)
			expect(s, memory.held_bytes <= target);
		sched_yield();
	}
	return NULL;
}

/* What others may ask at any time. */
static void *watch(void *arg)
{
	shared *s = ((worker *)arg)->s;
	while (!atomic_load(&s->stop)) {
		ufm_engine_memory memory = {.struct_size = sizeof memory};
		ufm_engine_info info = {.struct_size = sizeof info};
		ufm_engine_get_memory(s->f.engine, &memory);
		ufm_engine_get_info(s->f.engine, &info);
		expect(s, memory.held_bytes <= s->largest_bytes);
		expect(s, info.slots >= SLOTS_LEAST && info.slots <= EXPERTS);
		expect(s, info.slab_bytes == info.slots * info.block_bytes);
		expect(s, info.lease_max == info.slots - info.ring_slots);
		expect(s, ufm_engine_lease_max(s->f.engine) <= EXPERTS);
		sched_yield();
	}
	return NULL;
}

/* ------------------------------------------------------------------ schedules */

static void open_shared(shared *s)
{
	uint64_t granule = fixture_granule();
	fixture_config c = {.experts = EXPERTS,
	                    .d_model = 64,
	                    .d_hidden =
	                        136 * (uint32_t)(granule / 65536), /* more than a granule each */
	                    .tokens = 6,
	                    .vram_target_bytes = 128 * granule,
	                    .seed = 9};
	ufm_engine_info info = {.struct_size = sizeof info};
	memset(s, 0, sizeof *s);
	assert_int_equal(fixture_open(&s->f, &c), UFM_OK);
	ufm_engine_get_info(s->f.engine, &info);
	assert_int_equal(info.slots, EXPERTS);
	s->expert_bytes = info.expert_bytes;
	for (uint32_t slots = 0; slots <= EXPERTS; slots++)
		s->targets[slots] = size_round_up(
			info.workspace_bytes + info.arena_bytes + slots * info.block_bytes, granule);
	s->largest_bytes = s->targets[EXPERTS];
	for (uint32_t i = 0; i < EXPERTS; i++) {
		s->blocks[i] = malloc(info.expert_bytes);
		assert_int_equal(ufm_bank_read(s->f.bank, 0, i, s->blocks[i]), UFM_OK);
	}
}

static void close_shared(shared *s)
{
	for (uint32_t i = 0; i < EXPERTS; i++)
		free(s->blocks[i]);
	fixture_close(&s->f);
}

static void run_schedule(shared *s, uint64_t seed, const uint64_t *want)
{
	void *(*const mains[READERS + 2])(void *) = {resize_many, watch, read_many, read_many};
	pthread_t threads[READERS + 2];
	worker workers[READERS + 2];
	uint32_t outputs = 0;
	atomic_store(&s->stop, false);
	for (uint32_t i = 0; i < READERS + 2; i++) {
		workers[i] = (worker){.s = s, .seed = rng_mix(seed, i)};
		assert_int_equal(pthread_create(&threads[i], NULL, mains[i], &workers[i]), 0);
	}
	for (uint64_t step = 0; step < STEPS; step++) {
		assert_int_equal(fixture_run(&s->f, step), UFM_OK);
		outputs += fixture_hash(&s->f) != want[step];
	}
	for (uint32_t i = READERS + 2; i-- > 0;) {
		if (i < 2)
			atomic_store(&s->stop, true);
		pthread_join(threads[i], NULL);
	}
	if (outputs || atomic_load(&s->wrong))
		fail_msg("seed %llu: %u outputs with other bits, %u wrong", (unsigned long long)seed,
		         outputs, atomic_load(&s->wrong));
}

static void resizes_beside_leases_and_layers(void **state)
{
	(void)state;
	shared s;
	uint64_t want[STEPS], first = clock_now_ns();
	open_shared(&s);
	for (uint64_t step = 0; step < STEPS; step++) {
		assert_int_equal(fixture_run(&s.f, step), UFM_OK);
		want[step] = fixture_hash(&s.f);
	}
	for (uint64_t i = 0; i < SCHEDULES; i++)
		run_schedule(&s, first + i, want);
	print_message("seeds from %llu: %u resizes, %u refused, %u leases, %llu moves\n",
	              (unsigned long long)first, atomic_load(&s.resized), atomic_load(&s.refused),
	              atomic_load(&s.granted), (unsigned long long)fixture_counter(&s.f, "moves"));
	assert_true(s.resized > 0 && s.granted > 0 && fixture_counter(&s.f, "moves") > 0);
	/* no pin is left: everything can go */
	assert_int_equal(ufm_engine_resize(s.f.engine, s.targets[SLOTS_LEAST]), UFM_OK);
	assert_int_equal(fixture_counter(&s.f, "uses"), fixture_counter(&s.f, "resident_uses") +
	                                                    fixture_counter(&s.f, "streamed_uses") +
	                                                    fixture_counter(&s.f, "failed_uses"));
	close_shared(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(resizes_beside_leases_and_layers)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
