/* SPDX-License-Identifier: MIT */
/* When the CPU path is on, what an engine says of it, and the probe. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "pager/pager.h"
#include "support/fixture.h"

static ufm_engine_info info_of(const fixture_config *c)
{
	fixture f;
	static char line[192];
	ufm_engine_info info = {.struct_size = sizeof info};
	assert_int_equal(fixture_open(&f, c), UFM_OK);
	ufm_engine_get_info(f.engine, &info);
	strncpy(line, info.cpu_assist, sizeof line - 1);
	info.cpu_assist = line;
	fixture_close(&f);
	return info;
}

static void what_is_asked_is_said(void **state)
{
	(void)state;
	fixture_config c = {.slots_max = 3};
	ufm_engine_info info = info_of(&c);
	assert_string_equal(info.cpu_assist, "off");
	assert_int_equal(info.cpu_threads, 0);
	c.cpu_assist = UFM_CPU_ON;
	c.cpu_threads = 3;
	info = info_of(&c);
	assert_string_equal(info.cpu_assist, "on");
	assert_int_equal(info.cpu_threads, 3);
	assert_int_equal(info.cpu_share_percent, 0);
	c.cpu_threads = 0;
	c.cpu_share_percent = 40;
	info = info_of(&c);
	assert_true(info.cpu_threads >= 1);
	assert_int_equal(info.cpu_share_percent, 40);
}

static void wrong_configurations(void **state)
{
	(void)state;
	static const fixture_config wrong[] = {
		{.slots_max = 3, .cpu_assist = 3},
		{.slots_max = 3, .cpu_assist = UFM_CPU_ON, .cpu_threads = 1025},
		{.slots_max = 3, .cpu_assist = UFM_CPU_ON, .cpu_share_percent = 101},
		{.slots_max = 3, .cpu_assist = UFM_CPU_OFF, .cpu_share_percent = 1},
		{.slots_max = 3, .cpu_assist = UFM_CPU_OFF, .cpu_threads = 1},
	};
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		fixture f;
		assert_int_equal(fixture_open(&f, &wrong[i]), UFM_EINVAL);
		assert_non_null(strstr(ufm_last_error(), "cpu_"));
	}
}

static ufm_status open_auto(fixture *f, ufm_engine **out, ufm_engine_config *config)
{
	config->cpu_assist = UFM_CPU_AUTO;
	return ufm_engine_open(f->host, config, out);
}

static void check_auto(fixture *f, ufm_engine_config config, const char *why)
{
	ufm_engine *e;
	ufm_engine_info info = {.struct_size = sizeof info};
	assert_int_equal(open_auto(f, &e, &config), UFM_OK);
	ufm_engine_get_info(e, &info);
	if (strncmp(info.cpu_assist, why, strlen(why)) != 0)
		fail_msg("found '%s', expected '%s'", info.cpu_assist, why);
	assert_int_equal(info.cpu_threads, 0);
	ufm_engine_close(e);
}

static void auto_says_why_not(void **state)
{
	(void)state;
	fixture f;
	fixture_config c = {.slots_max = 3};
	assert_int_equal(fixture_open(&f, &c), UFM_OK);
	ufm_engine_config config;
	UFM_STRUCT_INIT(&config);
	config.slots_max = 3;
	check_auto(&f, config, "off: the layer level is not used");
	config.max_tokens = 4;
	config.top_k_max = 2;
	if (strcmp(f.c.backend->name, "cpu") == 0)
		check_auto(&f, config, "off: the device is this CPU");
	config.slots_max = 0;
	check_auto(&f, config, "off: every expert has a slot");
	fixture_close(&f);
}

/* A link so slow that any CPU beats it: auto measures, turns the path on, and has rates. */
static void auto_measures(void **state)
{
	(void)state;
	fixture f;
	fixture_config c = {.slots_max = 3, .d_model = 256, .d_hidden = 256};
	assert_int_equal(fixture_open(&f, &c), UFM_OK);
	if (strcmp(f.c.backend->name, "cpu") != 0 || assist_threads_default() == 0) {
		print_message("skipped: needs the cpu backend and a second core\n");
		fixture_close(&f);
		skip();
	}
	ufm_engine_config config;
	ufm_engine_info info = {.struct_size = sizeof info};
	ufm_engine *e;
	pager_rates rates;
	UFM_STRUCT_INIT(&config);
	config.slots_max = 3;
	config.max_tokens = 1;
	config.top_k_max = 1;
	config.link_gbps = 0.02;
	assert_int_equal(open_auto(&f, &e, &config), UFM_OK);
	ufm_engine_get_info(e, &info);
	engine_rates(e, &rates);
	/* By the device's times no copy is faster than the emulated link, however busy the machine is. */
	assert_true(rates.link_alone_gbps > 0 && rates.link_alone_gbps < 0.021);
	bool pays = rates.sum_gbps >= 1.05 * rates.link_alone_gbps;
	assert_int_equal(info.cpu_threads > 0, pays);
	assert_int_equal(strcmp(info.cpu_assist, "on: nothing is chosen yet") == 0, pays);
	ufm_cpu_choice none = {.struct_size = sizeof none};
	assert_int_equal(ufm_engine_get_cpu_choice(e, 0, &none), UFM_EINVAL);
	ufm_engine_close(e);
	fixture_close(&f);
}

/* Steps of a model whose link is slow, so that both ways are looked at; the output stays what it was. */
static void auto_looks_at_both_ways_and_tells(void **state)
{
	(void)state;
	fixture f;
	fixture_config c = {.layers = 2,
	                    .experts = 12,
	                    .tokens = 1,
	                    .slots_max = 8,
	                    .policy = "lru",
	                    .cpu_assist = UFM_CPU_ON,
	                    .cpu_threads = 1};
	assert_int_equal(fixture_open(&f, &c), UFM_OK);
	pager_get_cpu(f.engine)->chooses = true; /* whatever the probe would have found */
	ufm_cpu_choice told = {.struct_size = sizeof told};
	ufm_engine_info info = {.struct_size = sizeof info};
	uint32_t steps = 0;
	for (; steps < 4000; steps++) {
		assert_int_equal(fixture_run(&f, steps), UFM_OK);
		if (ufm_engine_get_cpu_choice(f.engine, 0, &told) == UFM_OK && told.cpu_looks >= 2 &&
		    told.link_looks >= 2)
			break;
	}
	assert_true(steps < 4000);
	assert_int_equal(told.tokens_from, 1);
	assert_int_equal(ufm_engine_get_cpu_choice(f.engine, 1, &told), UFM_EINVAL);
	told.struct_size = 0;
	assert_int_equal(ufm_engine_get_cpu_choice(f.engine, 0, &told), UFM_EINVAL);
	told.struct_size = offsetof(ufm_cpu_choice, changes); /* an older caller */
	told.changes = UINT64_MAX;
	told.tokens_from = 0;
	assert_int_equal(ufm_engine_get_cpu_choice(f.engine, 0, &told), UFM_OK);
	assert_int_equal(told.tokens_from, 1);
	assert_int_equal(told.changes, UINT64_MAX);
	ufm_engine_get_info(f.engine, &info);
	assert_non_null(strstr(info.cpu_assist, "on: 1 tokens with"));
	assert_true(fixture_counter(&f, "cpu_uses") > 0 && fixture_counter(&f, "streamed_uses") > 0);
	assert_int_equal(fixture_identities(&f), 0);
	fixture_close(&f);
}

/* Calls so long that each is timed by itself. */
static void auto_times_long_calls(void **state)
{
	(void)state;
	fixture f;
	fixture_config c = {.layers = 2,
	                    .experts = 12,
	                    .tokens = 40,
	                    .slots_max = 8,
	                    .cpu_assist = UFM_CPU_ON,
	                    .cpu_threads = 1};
	ufm_cpu_choice told = {.struct_size = sizeof told};
	assert_int_equal(fixture_open(&f, &c), UFM_OK);
	pager_get_cpu(f.engine)->chooses = true;
	for (uint32_t step = 0; step < 30; step++)
		assert_int_equal(fixture_run(&f, step), UFM_OK);
	assert_int_equal(ufm_engine_get_cpu_choice(f.engine, 0, &told), UFM_OK);
	assert_int_equal(told.tokens_from, 32);
	assert_true(told.cpu_looks >= 5 && told.cpu_miss_ns > 0);
	/* Unless the CPU took clearly less than copies alone. */
	assert_true(told.link_looks ? told.link_looks >= 5 && told.link_miss_ns > 0 : told.takes_cpu);
	assert_int_equal(fixture_identities(&f), 0);
	fixture_close(&f);
}

/* The probe leaves what lies in the slots as it was, and the counters too. */
static void probe_disturbs_nothing(void **state)
{
	(void)state;
	fixture f;
	fixture_config c = {.experts = 9, .slots_max = 4, .cpu_assist = UFM_CPU_ON, .cpu_threads = 2};
	pager_rates rates;
	float want[3][16 * 24];
	assert_int_equal(fixture_open(&f, &c), UFM_OK);
	engine_rates(f.engine, &rates);
	assert_true(rates.sum_gbps == 0); /* nothing had to be decided */
	for (uint64_t step = 0; step < 3; step++) {
		assert_int_equal(fixture_run(&f, step), UFM_OK);
		memcpy(want[step], f.y, sizeof want[step]);
	}
	for (uint64_t step = 0; step < 3; step++) {
		uint64_t bytes = fixture_counter(&f, "h2d_weight_bytes");
		assert_int_equal(pager_probe(f.engine, &rates), UFM_OK);
		assert_true(rates.link_alone_gbps > 0 && rates.link_gbps > 0 && rates.copy_ns > 0);
		assert_true(rates.sum_gbps == rates.link_gbps + rates.cpu_gbps);
		assert_int_equal(fixture_counter(&f, "h2d_weight_bytes"), bytes);
		assert_int_equal(fixture_run(&f, step), UFM_OK);
		assert_true(fixture_agrees(&f, want[step]));
	}
	assert_int_equal(fixture_identities(&f), 0);
	fixture_close(&f);
	c = (fixture_config){.slots_max = 3};
	assert_int_equal(fixture_open(&f, &c), UFM_OK);
	assert_int_equal(pager_probe(f.engine, &rates), UFM_EUNSUPPORTED);
	fixture_close(&f);
}

/* What the device wrote for the CPU in the second step, where the first has shown that it is needed, in rows
 * of d_model. */
static uint64_t inputs_written(uint32_t tokens, uint64_t *cpu_rows)
{
	uint64_t bytes[2], row_bytes = 0;
	*cpu_rows = 0;
	for (uint32_t on = 0; on < 2; on++) {
		fixture f;
		fixture_config c = {.slots_max = 3, .tokens = tokens, .policy = "lru"};
		c.cpu_assist = on ? UFM_CPU_ON : UFM_CPU_OFF;
		c.cpu_threads = on ? 2 : 0;
		c.cpu_share_percent = on ? 50 : 0;
		assert_int_equal(fixture_open(&f, &c), UFM_OK);
		assert_int_equal(fixture_run(&f, 1), UFM_OK);
		bytes[on] = fixture_counter(&f, "d2h_activation_bytes");
		uint64_t rows = fixture_counter(&f, "cpu_rows");
		assert_int_equal(fixture_run(&f, 2), UFM_OK);
		bytes[on] = fixture_counter(&f, "d2h_activation_bytes") - bytes[on];
		*cpu_rows = fixture_counter(&f, "cpu_rows") - rows;
		row_bytes = 4ull * f.c.d_model;
		fixture_close(&f);
	}
	return (bytes[1] - bytes[0]) / row_bytes;
}

/* All tokens of a small call, before it is known which the CPU needs; the rows it needs of a larger one. */
static void small_calls_offer_their_tokens(void **state)
{
	(void)state;
	static const uint32_t tokens[] = {1, 2, PAGER_OFFERED, PAGER_OFFERED + 1, 40};
	for (size_t i = 0; i < sizeof tokens / sizeof *tokens; i++) {
		uint64_t cpu_rows, written = inputs_written(tokens[i], &cpu_rows);
		if (tokens[i] <= PAGER_OFFERED)
			assert_int_equal(written, tokens[i]);
		else
			assert_int_equal(written, cpu_rows);
	}
}

static uint64_t cost_after_a_step(bool loaded, uint64_t cost_ns)
{
	fixture f;
	fixture_config c = {.tokens = 1,
	                    .top_k = 6,
	                    .slots_max = loaded ? 0 : 3,
	                    .cpu_assist = UFM_CPU_ON,
	                    .cpu_threads = 1};
	assert_int_equal(fixture_open(&f, &c), UFM_OK);
	for (uint32_t i = 0; loaded && i < f.c.layers * f.c.experts; i++)
		assert_int_equal(ufm_prefetch(f.engine, i / f.c.experts, &(uint32_t){i % f.c.experts}, 1),
		                 UFM_OK);
	cost_learn(&pager_get_cpu(f.engine)->cost, 1, cost_ns);
	assert_int_equal(fixture_run(&f, 1), UFM_OK);
	assert_int_equal(fixture_counter(&f, "cpu_uses"), 0);
	uint64_t after_ns = cost_of(&pager_get_cpu(f.engine)->cost, 1);
	fixture_close(&f);
	return after_ns;
}

/* Where nothing misses the CPU is not asked, which says nothing of its costs. */
static void only_costs_that_forbid_are_doubted(void **state)
{
	(void)state;
	uint64_t dear_ns = 1000000000000u;
	assert_int_equal(cost_after_a_step(true, dear_ns), dear_ns);
	assert_true(cost_after_a_step(false, dear_ns) < dear_ns);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_asked_is_said),
		cmocka_unit_test(wrong_configurations),
		cmocka_unit_test(auto_says_why_not),
		cmocka_unit_test(auto_measures),
		cmocka_unit_test(auto_looks_at_both_ways_and_tells),
		cmocka_unit_test(auto_times_long_calls),
		cmocka_unit_test(probe_disturbs_nothing),
		cmocka_unit_test(small_calls_offer_their_tokens),
		cmocka_unit_test(only_costs_that_forbid_are_doubted),
	};
	return cmocka_run_group_tests_name("cpu path", tests, NULL, NULL);
}
