/* SPDX-License-Identifier: MIT */
/* Probes leave an engine as they found it, and end whatever the sizes and whatever fails. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <ufm/policy.h>

#include "bank/bank.h"
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
	pager_probe_config config = {.budget_ns = BUDGET_NS};
	probe_rates rates;
	memset(&rates, 0xff, sizeof rates);
	if (pager_probe_all(f->engine, &config, &rates) != UFM_OK)
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
	ufm_engine_info info = {.struct_size = sizeof info};
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
	ufm_engine_memory was = {.struct_size = sizeof was}, is = was;
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

static const void *host_block_of(const void *host, uint32_t key)
{
	return host_block(host, key);
}

static bool a_few_times(void *ctx)
{
	uint32_t *left = ctx;
	return (*left)-- > 1;
}

/* Blocks of several pieces, and rows that do not divide by them. */
static void teams_of_any_size(void **state)
{
	(void)state;
	fixture f = open_model(
		&(fixture_config){.experts = 3, .d_model = 3, .d_hidden = 70001, .top_k = 1, .tokens = 1});
	const ufm_host *host = engine_host(f.engine);
	const probe_blocks blocks = {bank_desc(host_bank(host)), 3, host_block_of, host};
	for (uint32_t threads = 1; threads <= 5; threads += 2) {
		probe_rates rates = probe_now(&f);
		check_rates(&rates);
		probe_team *team;
		assert_int_equal(probe_team_open(&blocks, threads, &team), UFM_OK);
		for (uint32_t work = PROBE_READ; work <= PROBE_PRODUCT; work++) {
			uint32_t left = 9; /* past the last block */
			assert_true(probe_team_run(team, (probe_work)work, a_few_times, &left) > 0);
			assert_int_equal(left, 0);
		}
		probe_team_close(team);
	}
	probe_team_close(NULL);
	assert_true(probe_team_threads() >= 1);
	fixture_close(&f);
}

/* ---- the link beside whoever works on the CPU */

#define BLOCK_BYTES 4096u

typedef struct line {
	fixture f;
	pager_events events;
	unsigned char from[BLOCK_BYTES], to[2][BLOCK_BYTES];
	uint32_t copies, runs, asked; /* blocks; runs of the CPU; times that it asked */
	double answer;                /* GB/s of the CPU */
	uint32_t answer_from;         /* the run that first gives it; those before give 0 */
} line;

static probe_copy next_block(void *ctx)
{
	line *l = ctx;
	return (probe_copy){(ufm_devptr)(uintptr_t)l->to[l->copies++ % 2], l->from};
}

static double answers(void *ctx, probe_more more, void *more_ctx)
{
	line *l = ctx;
	while (more(more_ctx))
		l->asked++;
	return l->runs++ < l->answer_from ? 0 : l->answer;
}

/* The cpu backend copies to any memory. */
static probe_link open_line(line *l, const ufm_backend *b)
{
	l->f = open_model(&(fixture_config){.experts = 2, .slots_max = 2, .backend = &cpu_backend});
	engine_enter(l->f.engine);
	assert_int_equal(pager_rest(l->f.engine, &l->events), UFM_OK);
	return (probe_link){.timed = {b, engine_stream(l->f.engine), l->events.begin, l->events.end},
	                    .together = 2,
	                    .expert_bytes = BLOCK_BYTES,
	                    .next = next_block,
	                    .ctx = l};
}

static void close_line(line *l)
{
	assert_int_equal(cpu_backend.stream_sync(engine_stream(l->f.engine)), UFM_OK);
	engine_leave(l->f.engine);
	fixture_close(&l->f);
}

static void link_and_cpu_at_once(void **state)
{
	(void)state;
	line l = {.answer = 7};
	memset(l.from, 0x5a, sizeof l.from);
	probe_link link = open_line(&l, &cpu_backend);
	const probe_cpu cpu = {answers, &l};
	double alone = 0;
	probe_both both = {0};
	assert_int_equal(probe_link_alone(&link, BUDGET_NS, &alone), UFM_OK);
	assert_true(alone > 0 && l.runs == 0);
	assert_memory_equal(l.to[0], l.from, BLOCK_BYTES);
	assert_memory_equal(l.to[1], l.from, BLOCK_BYTES);
	for (uint32_t parts = 1; parts <= PROBE_PARTS_MAX; parts += 2) {
		l.runs = 0;
		assert_int_equal(probe_link_beside(&link, &cpu, BUDGET_NS, parts, alone, &both), UFM_OK);
		assert_int_equal(l.runs, parts);
		assert_true(both.link_gbps > 0 && both.cpu_gbps == 7);
	}
	close_line(&l);
}

/* More copies until the CPU has a rate; no more parts when it never has. */
static void a_slow_cpu_gets_longer(void **state)
{
	(void)state;
	line l = {.answer = 7, .answer_from = 3};
	probe_link link = open_line(&l, &cpu_backend);
	const probe_cpu cpu = {answers, &l};
	probe_both both = {0};
	l.copies = 0;
	assert_int_equal(probe_link_beside(&link, &cpu, 0, 1, 1, &both), UFM_OK);
	assert_int_equal(l.runs, 4);
	assert_int_equal(l.copies, 2 * (2 + 4 + 8 + 16));
	assert_true(both.cpu_gbps == 7);
	l.runs = l.copies = 0;
	l.answer_from = UINT32_MAX;
	assert_int_equal(probe_link_beside(&link, &cpu, 0, 5, 1, &both), UFM_OK);
	assert_true(both.cpu_gbps == 0 && both.link_gbps > 0);
	assert_int_equal(l.runs, 7);
	assert_int_equal(l.copies, 2 * (2 + 4 + 8 + 16 + 32 + 64 + 128));
	close_line(&l);
}

/* ---- failures */

static uint32_t fail_after; /* calls of the failing function that succeed */
static bool failed;         /* since it was last reset */

static ufm_status failing(void)
{
	failed = failed || fail_after == 0;
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
			/* usually long enough for three calls of either; one is certain, however busy the machine is */
			pager_probe_config config = {.budget_ns = 20 * BUDGET_NS};
			probe_rates rates = {.threads = 77};
			fail_after = at;
			failed = false;
			ufm_status status = pager_probe_all(f.engine, &config, &rates);
			assert_int_equal(status, failed ? UFM_EDEVICE : UFM_OK);
			assert_true(failed || at > 0);
			assert_true(!failed || rates.threads == 77);
			fail_after = UINT32_MAX;
			check_contents(&f);
			assert_int_equal(fixture_run(&f, 1), UFM_OK);
			assert_int_equal(fixture_identities(&f), 0);
			fixture_close(&f);
		}
}

static ufm_status failing_copies(ufm_stream *s, const ufm_copies_args *args)
{
	ufm_status status = failing();
	return status ? status : cpu_backend.copies(s, args);
}

static void a_failed_copy_ends_the_probe(void **state)
{
	(void)state;
	ufm_backend b = cpu_backend;
	b.copies = failing_copies;
	line l = {.answer = 7};
	probe_link link = open_line(&l, &b);
	const probe_cpu cpu = {answers, &l};
	for (fail_after = 0; fail_after <= 2;) {
		uint32_t at = fail_after;
		double alone = 77;
		probe_both both = {77, 77};
		assert_int_equal(probe_link_alone(&link, BUDGET_NS, &alone), UFM_EDEVICE);
		fail_after = at;
		assert_int_equal(probe_link_beside(&link, &cpu, BUDGET_NS, 3, 1, &both), UFM_EDEVICE);
		assert_true(alone == 77 && both.link_gbps == 77 && both.cpu_gbps == 77);
		assert_int_equal(l.runs, 0);
		fail_after = at + 1;
	}
	close_line(&l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_changes),
		cmocka_unit_test(before_any_step),
		cmocka_unit_test(short_calls_say_nothing_of_arithmetic),
		cmocka_unit_test(one_small_expert),
		cmocka_unit_test(teams_of_any_size),
		cmocka_unit_test(link_and_cpu_at_once),
		cmocka_unit_test(a_slow_cpu_gets_longer),
		cmocka_unit_test(a_failed_copy_ends_the_probe),
		cmocka_unit_test(a_failure_is_told_and_harms_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
