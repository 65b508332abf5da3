/* SPDX-License-Identifier: MIT */
/* Engines whose budget changes between steps. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/rng.h"
#include "base/size.h"
#include "support/assert_error.h"
#include "support/fixture.h"

static uint64_t granule; /* of the backend's devices */

/* Widths are given for granules of 64 KiB; elsewhere experts are larger by as much. */
static uint32_t scaled(uint32_t d_hidden)
{
	return d_hidden * (uint32_t)(granule / 65536);
}

/* Experts of a little more than 4 granules, and a budget that holds them all. */
static fixture_config large_model(uint32_t experts)
{
	return (fixture_config){.experts = experts,
	                        .d_model = 128,
	                        .d_hidden = scaled(256),
	                        .vram_target_bytes = 1000 * granule};
}

static ufm_engine_info info_of(const fixture *f)
{
	ufm_engine_info info = {.struct_size = sizeof info};
	ufm_engine_get_info(f->engine, &info);
	return info;
}

static ufm_engine_memory memory_of(fixture *f)
{
	ufm_engine_memory memory = {.struct_size = sizeof memory};
	ufm_engine_get_memory(f->engine, &memory);
	return memory;
}

/* The smallest target that holds a number of slots. */
static uint64_t target_for(const fixture *f, uint64_t slots)
{
	ufm_engine_info i = info_of(f);
	return size_round_up(i.workspace_bytes + i.arena_bytes + slots * i.block_bytes, granule) +
	       i.headroom_bytes;
}

/* The arithmetic of budgets, written down once more. */
static void check_budget(fixture *f, uint64_t target_bytes)
{
	ufm_engine_info i = info_of(f);
	uint64_t fixed = i.workspace_bytes + i.arena_bytes, keys = (uint64_t)f->c.layers * f->c.experts;
	uint64_t fit = ((target_bytes - i.headroom_bytes) / granule * granule - fixed) / i.block_bytes;
	ufm_engine_memory m = memory_of(f);
	assert_int_equal(i.vram_target_bytes, target_bytes);
	assert_int_equal(i.slots, fit < keys ? fit : keys);
	assert_int_equal(i.slab_bytes, i.slots * i.block_bytes);
	assert_int_equal(i.lease_max, i.slots - i.ring_slots);
	assert_int_equal(i.lease_max, ufm_engine_lease_max(f->engine));
	/* a driver may take some for page tables; that is in the budget as well */
	assert_true(m.held_bytes >= size_round_up(fixed + i.slab_bytes, granule));
	assert_true(m.held_bytes <= target_bytes - i.headroom_bytes);
	assert_true(m.live_bytes <= m.held_bytes);
}

static void check_counters(fixture *f)
{
	uint64_t streamed = fixture_counter(f, "streamed_uses");
	assert_int_equal(fixture_counter(f, "uses"), fixture_counter(f, "resident_uses") + streamed);
	assert_int_equal(fixture_counter(f, "h2d_weight_bytes"),
	                 (streamed + fixture_counter(f, "prefetch_loads")) * info_of(f).expert_bytes);
	assert_int_equal(fixture_counter(f, "d2h_weight_bytes"), 0);
}

/* Whether an expert is in a slot, and then with the right bytes. */
static bool is_resident(fixture *f, uint32_t layer, uint32_t expert)
{
	uint64_t bytes = info_of(f).expert_bytes, before = fixture_counter(f, "streamed_uses");
	uint8_t *found = malloc(bytes), *want = malloc(bytes);
	ufm_lease *lease;
	ufm_stream *stream;
	assert_int_equal(ufm_stream_open(f->engine, NULL, &stream), UFM_OK);
	assert_int_equal(ufm_acquire_begin(f->engine, layer, &expert, 1, &lease), UFM_OK);
	assert_int_equal(ufm_acquire_ready(lease, stream, UFM_WAIT_FOREVER), UFM_OK);
	assert_int_equal(ufm_copy_to_host(f->engine, stream, found, ufm_lease_view(lease, 0), bytes),
	                 UFM_OK);
	assert_int_equal(ufm_release(lease, stream), UFM_OK);
	assert_int_equal(ufm_stream_sync(f->engine, stream), UFM_OK);
	assert_int_equal(ufm_bank_read(f->bank, layer, expert, want), UFM_OK);
	assert_memory_equal(found, want, bytes);
	ufm_stream_close(f->engine, stream);
	free(found);
	free(want);
	return fixture_counter(f, "streamed_uses") == before;
}

static void load_all(fixture *f)
{
	uint32_t all[64];
	for (uint32_t i = 0; i < f->c.experts; i++)
		all[i] = i;
	for (uint32_t layer = 0; layer < f->c.layers; layer++)
		assert_int_equal(ufm_prefetch(f->engine, layer, all, f->c.experts), UFM_OK);
}

/* ------------------------------------------------------------------ sequences */

/* Blocks smaller and larger than a granule, and no multiple of it. */
static fixture_config random_model(rng *r, const char *policy)
{
	static const uint32_t widths[][2] = {{24, 40}, {64, 136}, {128, 200}};
	const uint32_t *width = widths[rng_below(r, 3)];
	return (fixture_config){.layers = 1 + rng_below(r, 2),
	                        .experts = 5 + rng_below(r, 12),
	                        .d_model = width[0],
	                        .d_hidden = scaled(width[1]),
	                        .tokens = 1 + rng_below(r, 12),
	                        .headroom_bytes = rng_below(r, 200000),
	                        .policy = policy,
	                        .vram_target_bytes = 1000 * granule,
	                        .seed = rng_u64(r)};
}

#define SEQUENCE_STEPS 25

/* One engine at a time: on a real card a second one would count as held by the first. */
static void run_whole(fixture_config c, uint64_t hashes[SEQUENCE_STEPS])
{
	fixture whole;
	c.resident_all = 1;
	assert_int_equal(fixture_open(&whole, &c), UFM_OK);
	for (uint64_t step = 0; step < SEQUENCE_STEPS; step++) {
		assert_int_equal(fixture_run(&whole, step), UFM_OK);
		hashes[step] = fixture_hash(&whole);
	}
	fixture_close(&whole);
}

/* Whatever the budget does, the outputs are those of an engine that holds everything. */
static void run_sequence(uint64_t seed, const char *policy)
{
	rng r;
	fixture f;
	uint64_t want[SEQUENCE_STEPS];
	rng_seed(&r, seed);
	fixture_config c = random_model(&r, policy);
	run_whole(c, want);
	assert_int_equal(fixture_open(&f, &c), UFM_OK);
	uint64_t keys = (uint64_t)c.layers * c.experts;
	for (uint64_t step = 0; step < SEQUENCE_STEPS; step++) {
		uint64_t target = target_for(&f, 2 + rng_below(&r, (uint32_t)keys)) + rng_below(&r, 99999);
		assert_int_equal(ufm_engine_resize(f.engine, target), UFM_OK);
		check_budget(&f, target);
		if (rng_below(&r, 3) == 0)
			load_all(&f);
		assert_int_equal(fixture_run(&f, step), UFM_OK);
		if (fixture_hash(&f) != want[step])
			fail_msg("seed %llu policy %s step %llu: other bits", (unsigned long long)seed, policy,
			         (unsigned long long)step);
		check_counters(&f);
	}
	fixture_close(&f);
}

static void the_same_bits_at_every_size(void **state)
{
	static const char *const policies[] = {"cycle", "freq", "lru", "fifo"};
	uint64_t first = clock_now_ns();
	(void)state;
	print_message("seeds from %llu\n", (unsigned long long)first);
	for (uint64_t i = 0; i < 24; i++)
		run_sequence(first + i, policies[i % 4]);
}

/* ------------------------------------------------------------------ what stays */

/* Shrinking drops as many as do not fit and growing brings nobody back; a sweep then loads those that
 * were dropped and no other. */
static void only_what_was_dropped_is_loaded_again(void **state)
{
	(void)state;
	fixture f;
	fixture_config c = large_model(9);
	c.layers = 2;
	assert_int_equal(fixture_open(&f, &c), UFM_OK);
	assert_int_equal(info_of(&f).slots, 18);
	for (uint32_t slots = 17; slots >= 5; slots -= 4) {
		uint64_t large = info_of(&f).vram_target_bytes, small = target_for(&f, slots);
		for (uint32_t key = 0; key < 18; key++)
			(void)is_resident(&f, key / 9, key % 9);
		ufm_engine_memory before = memory_of(&f);
		uint64_t evictions = fixture_counter(&f, "evictions"), moves = fixture_counter(&f, "moves");
		assert_int_equal(ufm_engine_resize(f.engine, small), UFM_OK);
		check_budget(&f, small);
		uint32_t left = info_of(&f).slots, resident = 0;
		assert_true(left >= slots && left < 18);
		assert_int_equal(fixture_counter(&f, "evictions") - evictions, 18 - left);
		assert_int_equal(memory_of(&f).live_bytes,
		                 before.live_bytes - (18 - left) * info_of(&f).block_bytes);
		assert_true(fixture_counter(&f, "moves") > moves);
		assert_int_equal(ufm_engine_resize(f.engine, large), UFM_OK);
		check_budget(&f, large);
		for (uint32_t key = 0; key < 18; key++)
			resident += is_resident(&f, key / 9, key % 9);
		assert_int_equal(resident, left);
		check_counters(&f);
	}
	fixture_close(&f);
}

/* Who was used last stays, although it lay in the slots that went. */
static void the_policy_decides_who_stays(void **state)
{
	(void)state;
	fixture f;
	fixture_config c = large_model(12);
	c.policy = "lru";
	assert_int_equal(fixture_open(&f, &c), UFM_OK);
	for (uint32_t expert = 0; expert < 12; expert++)
		assert_false(is_resident(&f, 0, expert));
	assert_int_equal(ufm_engine_resize(f.engine, target_for(&f, 7)), UFM_OK);
	uint32_t left = info_of(&f).slots;
	assert_true(left >= 7 && left < 12);
	for (uint32_t expert = 12 - left; expert < 12; expert++)
		assert_true(is_resident(&f, 0, expert));
	fixture_close(&f);
}

/* ------------------------------------------------------------------ leases */

static void leases_keep_their_slots(void **state)
{
	(void)state;
	fixture f;
	fixture_config c = large_model(12);
	assert_int_equal(fixture_open(&f, &c), UFM_OK);
	uint64_t large = info_of(&f).vram_target_bytes, small = target_for(&f, 6);
	uint32_t ids[12];
	ufm_lease *first, *last;
	for (uint32_t i = 0; i < 12; i++)
		ids[i] = i;
	/* the first experts lie in the first slots, the last in those that would go */
	assert_int_equal(ufm_acquire_begin(f.engine, 0, ids, 2, &first), UFM_OK);
	assert_int_equal(ufm_acquire_begin(f.engine, 0, ids + 2, 10, &last), UFM_OK);
	ufm_devptr view = ufm_lease_view(first, 1);
	assert_error(ufm_engine_resize(f.engine, small), UFM_EBUSY, "12 experts are leased");
	assert_int_equal(ufm_release(last, NULL), UFM_OK);
	assert_int_equal(ufm_acquire_begin(f.engine, 0, ids + 11, 1, &last), UFM_OK);
	ufm_engine_memory before = memory_of(&f);
	assert_error(ufm_engine_resize(f.engine, small), UFM_EBUSY, "leases hold slots");
	ufm_engine_memory after = memory_of(&f);
	assert_memory_equal(&before, &after, sizeof before);
	check_budget(&f, large);
	assert_int_equal(fixture_counter(&f, "evictions"), 0);
	assert_int_equal(ufm_release(last, NULL), UFM_OK);
	assert_int_equal(ufm_engine_resize(f.engine, small), UFM_OK);
	check_budget(&f, small);
	assert_int_equal(ufm_lease_view(first, 1), view);
	for (uint32_t i = 0; i < 2; i++)
		assert_true(is_resident(&f, 0, i));
	assert_int_equal(fixture_run(&f, 0), UFM_OK);
	assert_int_equal(ufm_lease_view(first, 1), view);
	assert_int_equal(ufm_release(first, NULL), UFM_OK);
	fixture_close(&f);
}

/* ------------------------------------------------------------------ refusals */

static void refusals_change_nothing(void **state)
{
	(void)state;
	char opening[512];
	fixture f;
	fixture_config c = large_model(24);
	assert_int_equal(fixture_open(&f, &c), UFM_OK);
	c.vram_limit_bytes = info_of(&f).context_bytes + 80 * granule;
	fixture_close(&f);
	c.headroom_bytes = 1000;
	c.vram_target_bytes = 4096;
	assert_int_equal(fixture_open(&f, &c), UFM_EBUDGET);
	memcpy(opening, ufm_last_error(), sizeof opening);
	c.vram_target_bytes = 32 * granule;
	assert_int_equal(fixture_open(&f, &c), UFM_OK);
	load_all(&f);
	assert_int_equal(fixture_run(&f, 3), UFM_OK);
	uint64_t want = fixture_hash(&f), evictions = fixture_counter(&f, "evictions");
	ufm_engine_memory before = memory_of(&f);
	/* the text is that of opening */
	assert_int_equal(ufm_engine_resize(f.engine, 4096), UFM_EBUDGET);
	assert_string_equal(ufm_last_error(), opening);
	assert_int_equal(ufm_engine_resize(f.engine, 1000), UFM_EBUDGET);
	/* more than the device has */
	assert_error(ufm_engine_resize(f.engine, 200 * granule), UFM_EDEVMEM, "asked ");
	assert_non_null(strstr(ufm_last_error(), " free"));
	ufm_engine_memory after = memory_of(&f);
	assert_memory_equal(&before, &after, sizeof before);
	check_budget(&f, 32 * granule);
	assert_int_equal(fixture_counter(&f, "evictions"), evictions);
	assert_int_equal(fixture_run(&f, 3), UFM_OK);
	assert_int_equal(fixture_hash(&f), want);
	/* all that there is */
	assert_int_equal(ufm_engine_resize(f.engine, 0), UFM_OK);
	check_budget(&f, info_of(&f).vram_target_bytes);
	assert_true(info_of(&f).vram_target_bytes > 32 * granule);
	assert_true(memory_of(&f).held_bytes > before.held_bytes);
	assert_int_equal(fixture_run(&f, 3), UFM_OK);
	assert_int_equal(fixture_hash(&f), want);
	fixture_close(&f);
}

static void resident_engines_stay_resident(void **state)
{
	(void)state;
	fixture f;
	fixture_config c = large_model(16);
	c.resident_all = 1;
	assert_int_equal(fixture_open(&f, &c), UFM_OK);
	uint64_t all = target_for(&f, 16);
	assert_error(ufm_engine_resize(f.engine, all - 1), UFM_EBUDGET, "16 experts of");
	assert_int_equal(info_of(&f).slots, 16);
	assert_int_equal(ufm_engine_resize(f.engine, all), UFM_OK);
	check_budget(&f, all);
	assert_int_equal(info_of(&f).ring_slots, 0);
	fixture_close(&f);
}

/* A ring that was asked for, and a number of slots, hold for every budget. */
static void configured_slots_hold(void **state)
{
	(void)state;
	fixture f;
	fixture_config c = large_model(16);
	c.ring_slots = 3;
	c.slots_max = 9;
	assert_int_equal(fixture_open(&f, &c), UFM_OK);
	assert_int_equal(info_of(&f).slots, 9);
	assert_error(ufm_engine_resize(f.engine, target_for(&f, 4)), UFM_EINVAL, "ring_slots: 3");
	assert_int_equal(info_of(&f).slots, 9);
	assert_int_equal(ufm_engine_resize(f.engine, target_for(&f, 7)), UFM_OK);
	assert_int_equal(info_of(&f).ring_slots, 3);
	assert_int_equal(ufm_engine_resize(f.engine, 0), UFM_OK);
	assert_int_equal(info_of(&f).slots, 9);
	fixture_close(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_same_bits_at_every_size),
		cmocka_unit_test(only_what_was_dropped_is_loaded_again),
		cmocka_unit_test(the_policy_decides_who_stays),
		cmocka_unit_test(leases_keep_their_slots),
		cmocka_unit_test(refusals_change_nothing),
		cmocka_unit_test(resident_engines_stay_resident),
		cmocka_unit_test(configured_slots_hold),
	};
	granule = fixture_granule();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
