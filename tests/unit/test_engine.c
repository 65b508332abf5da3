/* SPDX-License-Identifier: MIT */
/* Opening engines: budgets, configuration, memory, arena. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "support/fixture.h"

#define assert_says(text) assert_non_null(strstr(ufm_last_error(), (text)))

static ufm_engine_info info_of(fixture *f)
{
	ufm_engine_info info = {.struct_size = sizeof info};
	ufm_engine_get_info(f->engine, &info);
	return info;
}

/* The bytes that a refused budget says it needs are the bytes with which it opens. */
static void smallest_budget_is_exact(void **state)
{
	(void)state;
	fixture f;
	fixture_config c = {.experts = 16, .d_model = 128, .d_hidden = 256, .vram_target_bytes = 4096};
	assert_int_equal(fixture_open(&f, &c), UFM_EBUDGET);
	const char *open = strchr(strstr(ufm_last_error(), "at least"), '(');
	unsigned long long need = 0;
	assert_int_equal(sscanf(open, "(%llu bytes)", &need), 1);
	c.vram_target_bytes = need - 1;
	assert_int_equal(fixture_open(&f, &c), UFM_EBUDGET);
	c.vram_target_bytes = need;
	assert_int_equal(fixture_open(&f, &c), UFM_OK);
	assert_true(info_of(&f).slots >= 2);
	assert_int_equal(fixture_run(&f, 0), UFM_OK);
	assert_int_equal(fixture_identities(&f), 0);
	fixture_close(&f);
}

/* Experts of 4 MiB: several granules of any backend. */
#define LARGE_EXPERTS .experts = 16, .d_model = 512, .d_hidden = 1024
#define MIB ((uint64_t)1 << 20)

static void budget_is_kept_to_the_byte(void **state)
{
	(void)state;
	for (uint64_t target = 14 * MIB; target < 60 * MIB; target += 3456789) {
		fixture f;
		fixture_config c = {LARGE_EXPERTS, .vram_target_bytes = target, .headroom_bytes = 100001};
		if (fixture_open(&f, &c) != UFM_OK)
			fail_msg("target %llu: %s", (unsigned long long)target, ufm_last_error());
		assert_int_equal(fixture_run(&f, 0), UFM_OK);
		ufm_engine_memory memory = {.struct_size = sizeof memory};
		ufm_engine_get_memory(f.engine, &memory);
		ufm_engine_info info = info_of(&f);
		assert_true(memory.held_bytes <= target - c.headroom_bytes);
		assert_true(info.slab_bytes + info.workspace_bytes + info.arena_bytes <= memory.held_bytes);
		assert_true(memory.live_bytes <= memory.held_bytes);
		fixture_close(&f);
	}
}

static void headroom_larger_than_target(void **state)
{
	(void)state;
	fixture f;
	fixture_config c = {.vram_target_bytes = 1 << 20, .headroom_bytes = 1 << 20};
	assert_int_equal(fixture_open(&f, &c), UFM_EBUDGET);
	assert_says("headroom");
}

static void resident_all_really_allocates(void **state)
{
	(void)state;
	fixture f;
	fixture_config c = {LARGE_EXPERTS};
	assert_int_equal(fixture_open(&f, &c), UFM_OK);
	uint64_t context_bytes = info_of(&f).context_bytes;
	fixture_close(&f);
	c.resident_all = 1;
	c.vram_limit_bytes = context_bytes + 40 * MIB;
	assert_int_equal(fixture_open(&f, &c), UFM_EDEVMEM);
	assert_says("asked");
	assert_says("free");
	c.vram_limit_bytes = context_bytes + 200 * MIB;
	assert_int_equal(fixture_open(&f, &c), UFM_OK);
	assert_int_equal(info_of(&f).slots, 16);
	assert_int_equal(info_of(&f).ring_slots, 0);
	fixture_close(&f);
}

static void configuration_is_checked_and_echoed(void **state)
{
	(void)state;
	fixture f;
	fixture_config c = {.policy = "belady"};
	assert_int_equal(fixture_open(&f, &c), UFM_EINVAL);
	assert_says("lru");
	c.policy = "min"; /* needs the future */
	assert_int_equal(fixture_open(&f, &c), UFM_EINVAL);
	c.policy = NULL;
	c.slots_max = 1;
	assert_int_equal(fixture_open(&f, &c), UFM_EINVAL);
	c.slots_max = 5;
	assert_int_equal(fixture_open(&f, &c), UFM_OK);
	ufm_engine_info info = info_of(&f);
	assert_int_equal(info.slots, 5);
	assert_int_equal(info.ring_slots, 2);
	assert_int_equal(info.lease_max, 3);
	assert_string_equal(info.policy, "cycle");
	assert_string_equal(info.backend, fixture_backend()->name);
	fixture_close(&f);
}

static void structs_of_other_sizes(void **state)
{
	(void)state;
	fixture f;
	fixture_config c = {0};
	assert_int_equal(fixture_open(&f, &c), UFM_OK);
	struct {
		ufm_engine_config known;
		uint64_t later;
	} newer = {.later = 1};
	ufm_engine_config config;
	ufm_engine *engine = NULL;
	memset(&config, 0, sizeof config);
	assert_int_equal(ufm_engine_open(f.host, &config, &engine), UFM_EINVAL);
	newer.known.struct_size = sizeof newer;
	assert_int_equal(ufm_engine_open(f.host, &newer.known, &engine), UFM_EINVAL);
	assert_non_null(strstr(ufm_last_error(), "ufm_engine_config: byte"));
	newer.later = 0;
	assert_int_equal(ufm_engine_open(f.host, &newer.known, &engine), UFM_OK);
	ufm_engine_close(engine);
	config.struct_size = offsetof(ufm_engine_config, policy); /* an older caller */
	config.policy = (const char *)"never read";
	assert_int_equal(ufm_engine_open(f.host, &config, &engine), UFM_OK);
	ufm_engine_close(engine);
	assert_int_equal(ufm_engine_open(NULL, NULL, &engine), UFM_EINVAL);
	fixture_close(&f);
}

/* No number of bytes may wrap a sum, and what cannot be had is refused. */
static void absurd_configurations(void **state)
{
	(void)state;
	fixture f;
	fixture_config c = {.experts = 16};
	assert_int_equal(fixture_open(&f, &c), UFM_OK);
	static const uint64_t arenas[] = {UINT64_MAX, UINT64_MAX - 65535, UINT64_MAX - 255, 1ull << 63};
	ufm_engine *engine = NULL;
	ufm_engine_config config;
	UFM_STRUCT_INIT(&config);
	config.vram_target_bytes = 4 << 20;
	for (uint32_t i = 0; i < 4; i++) {
		config.arena_bytes = arenas[i];
		config.resident_all = i & 1;
		assert_int_equal(ufm_engine_open(f.host, &config, &engine), UFM_EBUDGET);
		assert_says("arena_bytes");
	}
	config.arena_bytes = 0;
	config.resident_all = 1;
	config.slots_max = 8;
	assert_int_equal(ufm_engine_open(f.host, &config, &engine), UFM_EINVAL);
	config.resident_all = 0;
	config.ring_slots = 5;
	assert_int_equal(ufm_engine_open(f.host, &config, &engine), UFM_EINVAL);
	assert_says("ring_slots");
	config.ring_slots = 0;
	config.call_tokens_max = 8;
	assert_int_equal(ufm_engine_open(f.host, &config, &engine), UFM_EINVAL);
	config.call_tokens_max = 0;
	config.slots_max = 2; /* a pager-only engine of 2 could never lease */
	assert_int_equal(ufm_engine_open(f.host, &config, &engine), UFM_EINVAL);
	config.slots_max = 3;
	assert_int_equal(ufm_engine_open(f.host, &config, &engine), UFM_OK);
	assert_int_equal(ufm_engine_lease_max(engine), 1);
	ufm_engine_close(engine);
	fixture_close(&f);
}

/* A layer that does not fit takes nothing from the arena. */
static void refused_layers_take_nothing(void **state)
{
	(void)state;
	fixture f;
	fixture_config c = {0};
	assert_int_equal(fixture_open(&f, &c), UFM_OK);
	ufm_engine *engine;
	ufm_engine_config config;
	ufm_layer_config layer;
	ufm_layer *opened;
	UFM_STRUCT_INIT(&config);
	UFM_STRUCT_INIT(&layer);
	layer.top_k = 2;
	layer.router_weight = f.router;
	layer.norm_weight = f.norm;
	config.max_tokens = 4;
	config.top_k_max = 2;
	config.arena_bytes = 8 * 24 * sizeof(float); /* the router alone */
	assert_int_equal(ufm_engine_open(f.host, &config, &engine), UFM_OK);
	assert_int_equal(ufm_layer_open(engine, &layer, &opened), UFM_EBUDGET);
	layer.norm_weight = NULL;
	assert_int_equal(ufm_layer_open(engine, &layer, &opened), UFM_OK);
	ufm_layer_close(opened);
	ufm_engine_close(engine);
	fixture_close(&f);
}

static uint64_t workspace_of(ufm_host *host, uint32_t max_tokens)
{
	ufm_engine *engine;
	ufm_engine_config config;
	ufm_engine_info info = {.struct_size = sizeof info};
	UFM_STRUCT_INIT(&config);
	UFM_STRUCT_INIT(&info);
	config.max_tokens = max_tokens;
	config.top_k_max = 2;
	assert_int_equal(ufm_engine_open(host, &config, &engine), UFM_OK);
	ufm_engine_get_info(engine, &info);
	ufm_engine_close(engine);
	return info.workspace_bytes;
}

/* Beyond 8192 rows, here 4096 tokens, a token costs its row table, itself and its ids alone. */
static void workspace_grows_with_the_row_table(void **state)
{
	(void)state;
	fixture f;
	fixture_config c = {0};
	uint64_t d_bytes = 24 * sizeof(float), token_bytes = 3 * d_bytes + 2 * 16;
	assert_int_equal(fixture_open(&f, &c), UFM_OK);
	uint64_t at = workspace_of(f.host, 4096), below = workspace_of(f.host, 2048);
	assert_int_equal(workspace_of(f.host, 8192) - at, 4096 * token_bytes);
	assert_int_equal(workspace_of(f.host, 65536) - at, (65536 - 4096) * token_bytes);
	assert_true(at - below >= 2048 * (token_bytes + 2 * d_bytes));
	fixture_close(&f);
}

static void arena_is_bounded(void **state)
{
	(void)state;
	fixture f;
	fixture_config c = {0};
	assert_int_equal(fixture_open(&f, &c), UFM_OK);
	ufm_devptr a = 0, b = 0;
	assert_int_equal(ufm_engine_alloc(f.engine, 1, &a), UFM_OK);
	assert_int_equal(ufm_engine_alloc(f.engine, 1, &b), UFM_OK);
	assert_int_equal(b - a, 256);
	assert_int_equal(ufm_engine_alloc(f.engine, info_of(&f).arena_bytes, &a), UFM_EBUDGET);
	assert_says("arena");
	fixture_close(&f);
}

static void counters_are_described(void **state)
{
	(void)state;
	assert_true(ufm_counter_count() > 10);
	for (uint32_t i = 0; i < ufm_counter_count(); i++) {
		const ufm_counter_desc *d = ufm_counter_describe(i);
		assert_true(d->name[0] && d->unit[0] && d->kind[0] && d->help[0]);
	}
	assert_null(ufm_counter_describe(ufm_counter_count()));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(smallest_budget_is_exact),
		cmocka_unit_test(budget_is_kept_to_the_byte),
		cmocka_unit_test(headroom_larger_than_target),
		cmocka_unit_test(resident_all_really_allocates),
		cmocka_unit_test(configuration_is_checked_and_echoed),
		cmocka_unit_test(structs_of_other_sizes),
		cmocka_unit_test(absurd_configurations),
		cmocka_unit_test(refused_layers_take_nothing),
		cmocka_unit_test(arena_is_bounded),
		cmocka_unit_test(workspace_grows_with_the_row_table),
		cmocka_unit_test(counters_are_described),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
