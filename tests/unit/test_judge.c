/* SPDX-License-Identifier: MIT */
/* What engines and replays ask of a cache together: which misses are worth the link, what of them has a free place, and
 * which resident makes room. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "policy/registry.h"
#include "schedule/judge.h"
#include "support/cache_steps.h"

enum { EXPERTS = 64, SLOTS = 6, RING = 2, MISSES = 3 };

static const admit_terms terms = {.copy_ns = 200, .cpu_ns = 100, .call_ns = 10};

typedef struct bed {
	cache *cache;
	admit admit;
	schedule_demand wanted[EXPERTS];
	uint32_t held[EXPERTS];
} bed;

static void open_bed(bed *b)
{
	const cache_config config = {.slots = SLOTS,
	                             .ring = RING,
	                             .layers = 1,
	                             .experts = EXPERTS,
	                             .policy = policy_find("lru")};
	*b = (bed){0};
	assert_int_equal(cache_open(&config, &b->cache), UFM_OK);
	admit_open(&b->admit, &terms);
	for (uint32_t i = 0; i < EXPERTS; i++)
		b->wanted[i] = (schedule_demand){.expert = i, .tokens = 1};
}

/* An event of `residents` experts that are loaded, and of misses after these. */
static void begin(bed *b, uint32_t residents, uint32_t n)
{
	cache_member members[EXPERTS] = {0};
	for (uint32_t i = 0; i < residents; i++)
		demand(b->cache, i);
	for (uint32_t i = 0; i < n; i++)
		members[i] = member(i);
	cache_event_begin(b->cache, 0, members, n);
	for (uint32_t i = 0; i < residents; i++) {
		b->held[i] = cache_find(b->cache, i);
		b->wanted[i].resident = true;
	}
}

static void end(bed *b, uint32_t n)
{
	cache_member members[EXPERTS] = {0};
	for (uint32_t i = 0; i < n; i++)
		members[i] = member(i);
	cache_event_end(b->cache, 0, members, n);
	check(b->cache);
	cache_close(b->cache);
}

static judge_call a_call(bed *b, uint32_t misses)
{
	return (judge_call){.cache = b->cache, .admit = &b->admit, .misses = misses};
}

static void misses_are_worth_something_and_residents_are_not(void **state)
{
	(void)state;
	uint32_t fills;
	bed b;
	open_bed(&b);
	begin(&b, 2, 2 + MISSES);
	judge_call call = a_call(&b, MISSES);
	admit_turn turn = judge_misses(&call, b.wanted, 2 + MISSES, &fills);
	for (uint32_t i = 0; i < 2 + MISSES; i++)
		assert_int_equal(b.wanted[i].appeal, i < 2 ? 0 : CACHE_APPEAL_MAX);
	assert_int_equal(fills, 2); /* of four places two are free */
	assert_int_equal(turn.brought, 2);
	assert_true(turn.bar == ADMIT_BAR);
	end(&b, 2 + MISSES);
}

static void a_fixed_share_leaves_free_places_to_the_cpu(void **state)
{
	(void)state;
	uint32_t fills = 9;
	bed b;
	open_bed(&b);
	begin(&b, 0, MISSES);
	judge_call call = a_call(&b, MISSES);
	call.shares_always = true;
	admit_turn turn = judge_misses(&call, b.wanted, MISSES, &fills);
	assert_int_equal(fills, 0);
	assert_int_equal(turn.brought, 1); /* of three as many as end with the CPU's */
	end(&b, MISSES);
}

static void a_broad_call_is_admitted_freely(void **state)
{
	(void)state;
	uint32_t fills;
	bed b;
	open_bed(&b);
	begin(&b, 0, MISSES);
	judge_call call = a_call(&b, MISSES);
	call.broad = true;
	admit_turn turn = judge_misses(&call, b.wanted, MISSES, &fills);
	assert_int_equal(turn.brought, UINT32_MAX);
	assert_int_equal(fills, MISSES);
	assert_true(b.admit.demand == 0); /* it was no call of the clock */
	end(&b, MISSES);
}

static void of_many_misses_none_is_asked_for(void **state)
{
	(void)state;
	uint32_t fills;
	for (uint32_t misses = SCHEDULE_APPEAL_MISSES; misses <= SCHEDULE_APPEAL_MISSES + 1; misses++) {
		bed b;
		open_bed(&b);
		begin(&b, 0, misses);
		judge_call call = a_call(&b, misses);
		judge_misses(&call, b.wanted, misses, &fills);
		assert_int_equal(b.wanted[0].appeal,
		                 misses > SCHEDULE_APPEAL_MISSES ? 0 : CACHE_APPEAL_MAX);
		end(&b, misses);
	}
}

/* Pins all slots, those of `leased` twice, and gives the one that is to go first. */
static uint32_t early(uint32_t pinned, uint32_t leased)
{
	uint32_t found = UINT32_MAX;
	bed b;
	open_bed(&b);
	begin(&b, SLOTS, SLOTS + 1);
	for (uint32_t i = 0; i < pinned; i++)
		cache_pin(b.cache, b.held[i]);
	for (uint32_t i = 0; i < leased; i++)
		cache_pin(b.cache, b.held[i]);
	judge_free_one_early(b.cache, b.wanted, SLOTS + 1, b.held);
	for (uint32_t i = 0; i < SLOTS + 1 && found == UINT32_MAX; i++)
		if (b.wanted[i].refilled_next)
			found = i;
	for (uint32_t i = 0; i < pinned; i++)
		cache_unpin(b.cache, b.held[i]);
	for (uint32_t i = 0; i < leased; i++)
		cache_unpin(b.cache, b.held[i]);
	end(&b, SLOTS + 1);
	return found;
}

static void one_goes_early_when_every_slot_is_pinned(void **state)
{
	(void)state;
	assert_int_equal(early(SLOTS, 0), 0);
	assert_int_equal(early(SLOTS, 2), 2);
	assert_int_equal(early(SLOTS, SLOTS), UINT32_MAX);
	assert_int_equal(early(SLOTS - 1, 0), UINT32_MAX);
	assert_int_equal(early(0, 0), UINT32_MAX);
}

static void placements_take_their_turns(void **state)
{
	(void)state;
	cache_placement place;
	bed b;
	open_bed(&b);
	begin(&b, 0, SLOTS + 1);
	admit_turn turn = admit_freely();
	for (uint32_t i = 0; i < SLOTS; i++) {
		assert_int_equal(judge_place(b.cache, &turn, i, &place), UFM_OK);
		cache_loaded(b.cache, place.slot, place.generation);
		cache_pin(b.cache, place.slot);
		b.held[i] = place.slot;
		assert_int_equal(turn.placed, i + 1);
	}
	assert_int_equal(judge_place(b.cache, &turn, SLOTS, &place), UFM_EBUSY);
	assert_int_equal(turn.placed, SLOTS);
	for (uint32_t i = 0; i < SLOTS; i++)
		cache_unpin(b.cache, b.held[i]);
	end(&b, SLOTS + 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(misses_are_worth_something_and_residents_are_not),
		cmocka_unit_test(a_fixed_share_leaves_free_places_to_the_cpu),
		cmocka_unit_test(a_broad_call_is_admitted_freely),
		cmocka_unit_test(of_many_misses_none_is_asked_for),
		cmocka_unit_test(one_goes_early_when_every_slot_is_pinned),
		cmocka_unit_test(placements_take_their_turns),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
