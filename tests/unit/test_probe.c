/* SPDX-License-Identifier: MIT */
/* Probes leave an engine as they found it, and end whatever the sizes and whatever fails. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <ufm/policy.h>

#include "base/alloc.h"
#include "device/registry.h"
#include "pager/host.h"
#include "pager/pager.h"
#include "probe/probe.h"
#include "probe/team.h"
#include "support/fixture.h"
#include "telemetry/counters.h"

#define BUDGET_NS 2000000u
#define SLOTS_MAX 64

static fixture open_model(const fixture_config *config)
{
	fixture f;
	if (fixture_open(&f, config) != UFM_OK)
		fail_msg("open: %s", ufm_last_error());
	return f;
}

static probe_rates probe_now(fixture *f)
{
	probe_config config = {.engine = f->engine, .budget_ns = BUDGET_NS};
	probe_rates rates;
	memset(&rates, 0xff, sizeof rates);
	if (probe_all(&config, &rates) != UFM_OK)
		fail_msg("probe: %s", ufm_last_error());
	return rates;
}

static void check_rates(const probe_rates *r)
{
	assert_true(r->link_gbps > 0 && r->hbm_gbps > 0 && r->dram_gbps > 0);
	assert_true(r->sum_link_gbps > 0 && r->sum_cpu_gbps >= 0);
	assert_true(r->threads >= 1);
}

static uint32_t tenants(fixture *f, uint32_t keys[SLOTS_MAX])
{
	pager_events events;
	engine_enter(f->engine);
	assert_int_equal(pager_rest(f->engine, &events), UFM_OK);
	uint32_t slots = pager_slots(f->engine);
	assert_true(slots <= SLOTS_MAX);
	for (uint32_t i = 0; i < slots; i++)
		pager_slot(f->engine, i, &keys[i]);
	engine_leave(f->engine);
	return slots;
}

/* Every slot holds the bytes of the expert that it is said to hold. */
static void check_contents(fixture *f)
{
	ufm_engine_info info;
	uint32_t keys[SLOTS_MAX], slots = tenants(f, keys);
	ufm_engine_get_info(f->engine, &info);
	unsigned char *seen = alloc_zeroed(1, info.expert_bytes);
	for (uint32_t i = 0; i < slots; i++) {
		uint32_t key;
		ufm_devptr at = pager_slot(f->engine, i, &key);
		if (key == UFM_KEY_NONE)
			continue;
		assert_int_equal(ufm_copy_to_host(f->engine, NULL, seen, at, info.expert_bytes), UFM_OK);
		assert_int_equal(ufm_stream_sync(f->engine, NULL), UFM_OK);
		assert_memory_equal(seen, host_block(engine_host(f->engine), key), info.expert_bytes);
	}
	alloc_free(seen);
}

static void counters_of(fixture *f, uint64_t out[COUNTER_COUNT])
{
	ufm_engine_get_counters(f->engine, out, COUNTER_COUNT);
	/* Copies that had not been accounted for are, now. */
	out[COUNTER_stall_ns] = out[COUNTER_copy_ns] = out[COUNTER_route_wait_ns] = 0;
}

static void leaves_the_engine_as_it_was(const fixture_config *config)
{
	fixture probed = open_model(config), plain = open_model(config);
	uint64_t before[COUNTER_COUNT], after[COUNTER_COUNT];
	uint32_t held[SLOTS_MAX], still[SLOTS_MAX];
	ufm_engine_memory was, is;
	for (uint64_t step = 0; step < 4; step++) {
		assert_int_equal(fixture_run(&probed, step), UFM_OK);
		assert_int_equal(fixture_run(&plain, step), UFM_OK);
		assert_int_equal(fixture_hash(&probed), fixture_hash(&plain));
		counters_of(&probed, before);
		ufm_engine_get_memory(probed.engine, &was);
		uint32_t slots = tenants(&probed, held);
		probe_rates rates = probe_now(&probed);
		check_rates(&rates);
		counters_of(&probed, after);
		ufm_engine_get_memory(probed.engine, &is);
		assert_int_equal(tenants(&probed, still), slots);
		assert_memory_equal(held, still, slots * sizeof *held);
		assert_memory_equal(before, after, sizeof before);
		assert_int_equal(was.held_bytes, is.held_bytes);
		assert_int_equal(was.live_bytes, is.live_bytes);
		check_contents(&probed);
	}
	counters_of(&plain, before);
	assert_memory_equal(before, after, sizeof before);
	fixture_close(&plain);
	fixture_close(&probed);
}

static void nothing_changes(void **state)
{
	(void)state;
	leaves_the_engine_as_it_was(&(fixture_config){.experts = 13, .slots_max = 5});
	leaves_the_engine_as_it_was(&(fixture_config){.layers = 3,
	                                              .experts = 9,
	                                              .slots_max = 7,
	                                              .kind = UFM_EXPERT_GATED,
	                                              .dtype = UFM_BF16,
	                                              .policy = "lru"});
	leaves_the_engine_as_it_was(&(fixture_config){.experts = 8, .resident_all = 1});
}

static void before_any_step(void **state)
{
	(void)state;
	fixture f = open_model(&(fixture_config){.experts = 13, .slots_max = 5});
	probe_rates rates = probe_now(&f);
	check_rates(&rates);
	uint32_t keys[SLOTS_MAX];
	for (uint32_t i = 0, slots = tenants(&f, keys); i < slots; i++)
		assert_int_equal(keys[i], UFM_KEY_NONE);
	fixture_close(&f);
}

/* Arithmetic is probed where calls are long enough to show it. */
static void short_calls_say_nothing_of_arithmetic(void **state)
{
	(void)state;
	fixture f = open_model(&(fixture_config){.tokens = 16});
	assert_int_equal(fixture_run(&f, 0), UFM_OK);
	assert_true(probe_now(&f).gflops == 0);
	fixture_close(&f);
	f = open_model(&(fixture_config){.tokens = 700, .slots_max = 4});
	assert_int_equal(fixture_run(&f, 0), UFM_OK);
	assert_true(probe_now(&f).gflops > 0);
	fixture_close(&f);
}

static void one_small_expert(void **state)
{
	(void)state;
	fixture f = open_model(
		&(fixture_config){.experts = 1, .d_model = 1, .d_hidden = 1, .top_k = 1, .tokens = 1});
	assert_int_equal(fixture_run(&f, 0), UFM_OK);
	probe_rates rates = probe_now(&f);
	check_rates(&rates);
	fixture_close(&f);
}

/* Blocks of several pieces, and rows that do not divide by them. */
static void teams_of_any_size(void **state)
{
	(void)state;
	fixture f = open_model(
		&(fixture_config){.experts = 3, .d_model = 3, .d_hidden = 70001, .top_k = 1, .tokens = 1});
	for (uint32_t threads = 1; threads <= 5; threads += 2) {
		probe_rates rates = probe_now(&f);
		check_rates(&rates);
		probe_team *team;
		assert_int_equal(probe_team_open(engine_host(f.engine), threads, &team), UFM_OK);
		probe_team_close(team);
	}
	probe_team_close(NULL);
	assert_true(probe_team_threads() >= 1);
	fixture_close(&f);
}

/* ---- failures */

static uint32_t fail_after; /* calls of the failing function that succeed */

static ufm_status failing(void)
{
	if (fail_after == 0)
		return UFM_EDEVICE;
	fail_after--;
	return UFM_OK;
}

static ufm_status failing_read(ufm_stream *s, ufm_devptr at, uint64_t size_bytes, ufm_devptr out)
{
	ufm_status status = failing();
	return status ? status : cpu_backend.read(s, at, size_bytes, out);
}

static ufm_status failing_experts(ufm_stream *s, const ufm_experts_args *args)
{
	ufm_status status = failing();
	return status ? status : cpu_backend.experts(s, args);
}

static void a_failure_is_told_and_harms_nothing(void **state)
{
	(void)state;
	for (uint32_t which = 0; which < 2; which++)
		for (uint32_t at = 0; at < 3; at++) {
			ufm_backend b = cpu_backend;
			fixture f;
			if (which == 0)
				b.read = failing_read;
			else
				b.experts = failing_experts;
			fail_after = UINT32_MAX;
			f = open_model(&(fixture_config){.tokens = 700, .slots_max = 4, .backend = &b});
			assert_int_equal(fixture_run(&f, 0), UFM_OK);
			/* long enough for three calls of either on a busy machine */
			probe_config config = {.engine = f.engine, .budget_ns = 20 * BUDGET_NS};
			probe_rates rates = {.threads = 77};
			fail_after = at;
			assert_int_equal(probe_all(&config, &rates), UFM_EDEVICE);
			assert_int_equal(rates.threads, 77);
			fail_after = UINT32_MAX;
			check_contents(&f);
			assert_int_equal(fixture_run(&f, 1), UFM_OK);
			assert_int_equal(fixture_identities(&f), 0);
			fixture_close(&f);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_changes),
		cmocka_unit_test(before_any_step),
		cmocka_unit_test(short_calls_say_nothing_of_arithmetic),
		cmocka_unit_test(one_small_expert),
		cmocka_unit_test(teams_of_any_size),
		cmocka_unit_test(a_failure_is_told_and_harms_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
