/* SPDX-License-Identifier: MIT */
/* Every allocation of open → run → close fails in turn: once, and from then on for ever. Each time the
 * outcome is a clean error or a full success, and nothing leaks (the leak checker of the sanitizer
 * build watches). */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "support/fixture.h"

typedef struct plan {
	_Atomic uint64_t asked;
	uint64_t fail_at; /* UINT64_MAX: never */
	bool for_ever;
} plan;

static bool allow(void *ctx, size_t size_bytes)
{
	(void)size_bytes;
	plan *p = ctx;
	uint64_t number = atomic_fetch_add(&p->asked, 1);
	return p->for_ever ? number < p->fail_at : number != p->fail_at;
}

/* Half of the misses are streamed, half computed by the CPU. */
static fixture_config assisted(uint32_t tokens, uint32_t max_tokens)
{
	return (fixture_config){.layers = 2,
	                        .slots_max = 3,
	                        .tokens = tokens,
	                        .max_tokens = max_tokens,
	                        .cpu_assist = UFM_CPU_ON,
	                        .cpu_threads = 2,
	                        .cpu_share_percent = 50,
	                        .timeline_events = 9,
	                        .routing_bytes = 64};
}

static ufm_status open_run_close(void)
{
	fixture f;
	fixture_config c = assisted(5, 2);
	ufm_status status = fixture_open(&f, &c);
	if (status != UFM_OK)
		return status;
	status = fixture_run(&f, 0);
	fixture_close(&f);
	return status;
}

static void fail_each(bool for_ever)
{
	plan p = {.fail_at = UINT64_MAX};
	alloc_set_hook(allow, &p);
	assert_int_equal(open_run_close(), UFM_OK);
	uint64_t total = p.asked;
	assert_true(total > 20);
	uint64_t refused = 0;
	for (uint64_t at = 0; at < total; at++) {
		atomic_store(&p.asked, 0);
		p.fail_at = at;
		p.for_ever = for_ever;
		ufm_status status = open_run_close();
		if (status != UFM_ENOMEM)
			print_message("allocation %llu of %llu: %s\n", (unsigned long long)at,
			              (unsigned long long)total, ufm_strerror(status));
		assert_int_equal(status, UFM_ENOMEM);
		refused++;
	}
	alloc_set_hook(NULL, NULL);
	assert_int_equal(refused, total);
	assert_int_equal(open_run_close(), UFM_OK);
}

static void each_allocation_fails_once(void **state)
{
	(void)state;
	fail_each(false);
}

static void each_allocation_fails_for_ever(void **state)
{
	(void)state;
	fail_each(true);
}

/* Nothing is allocated inside a step. */
static void steps_do_not_allocate(void **state)
{
	(void)state;
	fixture f;
	fixture_config c = assisted(5, 5);
	assert_int_equal(fixture_open(&f, &c), UFM_OK);
	plan p = {.fail_at = 0, .for_ever = true};
	alloc_set_hook(allow, &p);
	for (uint64_t step = 0; step < 3; step++)
		assert_int_equal(fixture_run(&f, step), UFM_OK);
	assert_int_equal(p.asked, 0);
	alloc_set_hook(NULL, NULL);
	fixture_close(&f);
}

/* A resize that finds no host memory changes nothing. */
static void a_resize_may_find_no_memory(void **state)
{
	(void)state;
	fixture f;
	fixture_config c = {
		.experts = 7, .d_model = 128, .d_hidden = 72, .tokens = 5, .vram_target_bytes = 8 << 20};
	ufm_engine_info info = {.struct_size = sizeof info};
	assert_int_equal(fixture_open(&f, &c), UFM_OK);
	ufm_engine_get_info(f.engine, &info);
	assert_int_equal(fixture_run(&f, 0), UFM_OK);
	uint64_t small = info.workspace_bytes + info.arena_bytes + 3 * info.block_bytes;
	plan p = {.fail_at = 0, .for_ever = true};
	alloc_set_hook(allow, &p);
	assert_int_equal(ufm_engine_resize(f.engine, small + 65536), UFM_ENOMEM);
	assert_int_equal(p.asked, 1);
	alloc_set_hook(NULL, NULL);
	ufm_engine_get_info(f.engine, &info);
	assert_int_equal(info.slots, 7);
	assert_int_equal(ufm_engine_resize(f.engine, small + 65536), UFM_OK);
	ufm_engine_get_info(f.engine, &info);
	assert_int_equal(info.slots, 3);
	assert_int_equal(fixture_run(&f, 0), UFM_OK);
	fixture_close(&f);
}

/* A recording that finds no host memory leaves no file, and can be written later. */
static void a_recording_may_find_no_memory(void **state)
{
	(void)state;
	static const char *const paths[] = {"/tmp/ufm_fault_alloc.npy", "/tmp/ufm_fault_alloc.jsonl"};
	fixture f;
	fixture_config c = {.experts = 7, .tokens = 5, .routing_bytes = 64};
	assert_int_equal(fixture_open(&f, &c), UFM_OK);
	assert_int_equal(fixture_run(&f, 0), UFM_OK);
	for (uint32_t i = 0; i < 2; i++) {
		plan p = {.fail_at = UINT64_MAX};
		alloc_set_hook(allow, &p);
		assert_int_equal(ufm_engine_write_routing(f.engine, paths[i], 1, NULL), UFM_OK);
		uint64_t total = p.asked;
		assert_true(total > 0);
		assert_int_equal(unlink(paths[i]), 0);
		for (p.fail_at = 0; p.fail_at < total; p.fail_at++) {
			atomic_store(&p.asked, 0);
			assert_int_equal(ufm_engine_write_routing(f.engine, paths[i], 1, NULL), UFM_ENOMEM);
			assert_int_equal(access(paths[i], F_OK), -1);
		}
		alloc_set_hook(NULL, NULL);
	}
	fixture_close(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_allocation_fails_once),
		cmocka_unit_test(each_allocation_fails_for_ever),
		cmocka_unit_test(steps_do_not_allocate),
		cmocka_unit_test(a_resize_may_find_no_memory),
		cmocka_unit_test(a_recording_may_find_no_memory),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
