/* SPDX-License-Identifier: MIT */
/* A child of the process that has an engine: every call returns at once, closing takes nothing from the parent,
 * and an engine of its own works. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/process.h"
#include "pager/pager.h"
#include "support/fixture.h"

/* The thread sanitizer ends a child that starts threads. */
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define CHILD_HAS_NO_THREADS
#endif
#elif defined(__SANITIZE_THREAD__)
#define CHILD_HAS_NO_THREADS
#endif

/* Who waits in the child waits for ever: then the signal ends it. */
#define CHILD_TIMEOUT_S 60

typedef struct family {
	fixture f;
	ufm_lease *lease;
	ufm_stream *stream;
	ufm_devptr memory;
} family;

static const fixture_config shape = {.experts = 11,
                                     .slots_max = 6,
                                     .layers = 2,
                                     .seed = 5,
                                     .cpu_assist = UFM_CPU_ON,
                                     .cpu_threads = 1,
                                     .timeline_events = 64,
                                     .routing_bytes = 4096};

/* In the child, which is no part of the group of tests: tells what was wrong first, and ends. */
#define EXPECT(condition) \
	do { \
		if (!(condition)) { \
			fprintf(stderr, "line %d: %s\n", __LINE__, ufm_last_error()); \
			_exit(1); \
		} \
	} while (0)

#define EXPECT_REFUSED(call) \
	EXPECT((call) == UFM_EINVAL && strstr(ufm_last_error(), "expected ones opened after the " \
	                                                        "fork"))

static void expect_statuses(family *a)
{
	ufm_engine *e = a->f.engine;
	const uint32_t experts[1] = {1};
	float y[1] = {0};
	ufm_moe_call call = {.struct_size = sizeof call, .tokens = 1};
	ufm_cpu_choice found = {.struct_size = sizeof found};
	ufm_layer_config layer = {.struct_size = sizeof layer, .top_k = 1};
	ufm_engine_config engine = {.struct_size = sizeof engine};
	ufm_engine *new_engine;
	ufm_layer *new_layer;
	ufm_lease *lease;
	ufm_stream *stream;
	ufm_devptr at;

	call.x = call.y = &a->f.x_tokens;
	EXPECT_REFUSED(ufm_moe_forward(a->f.layers[0], &call, NULL));
	EXPECT_REFUSED(ufm_ticket_wait(e, (ufm_ticket){1}, UFM_WAIT_FOREVER));
	EXPECT_REFUSED(ufm_layer_open(e, &layer, &new_layer));
	EXPECT_REFUSED(ufm_engine_open(a->f.host, &engine, &new_engine));
	EXPECT_REFUSED(ufm_engine_resize(e, 1 << 20));
	EXPECT_REFUSED(ufm_engine_alloc(e, 4, &at));
	EXPECT_REFUSED(ufm_engine_get_cpu_choice(e, 0, &found));
	EXPECT_REFUSED(ufm_engine_write_timeline(e, "/dev/null"));
	EXPECT_REFUSED(ufm_engine_write_routing(e, "/dev/null", 1, NULL));
	EXPECT_REFUSED(ufm_stream_open(e, NULL, &stream));
	EXPECT_REFUSED(ufm_stream_sync(e, NULL));
	EXPECT_REFUSED(ufm_copy_to_device(e, a->stream, a->memory, y, sizeof y));
	EXPECT_REFUSED(ufm_copy_to_host(e, NULL, y, a->memory, sizeof y));
	EXPECT_REFUSED(ufm_acquire_begin(e, 0, experts, 1, &lease));
	EXPECT_REFUSED(ufm_acquire_ready(a->lease, a->stream, UFM_WAIT_FOREVER));
	EXPECT_REFUSED(ufm_release(a->lease, a->stream));
	EXPECT_REFUSED(ufm_prefetch(e, 0, experts, 1));
}

static void expect_figures(family *a)
{
	ufm_engine *e = a->f.engine;
	ufm_engine_info info = {.struct_size = sizeof info};
	ufm_engine_memory memory = {.struct_size = sizeof memory};
	uint64_t values[3] = {1, 1, 1};

	EXPECT_REFUSED(ufm_engine_get_info(e, &info));
	EXPECT(info.slots == 0 && strcmp(info.backend, "") == 0 && strcmp(info.cpu_assist, "") == 0);
	EXPECT_REFUSED(ufm_engine_get_memory(e, &memory));
	EXPECT(memory.live_bytes == 0 && memory.device_total_bytes == 0);
	EXPECT_REFUSED(ufm_engine_get_counters(e, values, 2));
	EXPECT(values[0] == 0 && values[1] == 0 && values[2] == 1);
	EXPECT(ufm_engine_lease_max(e) == 0);
	EXPECT(ufm_lease_view(a->lease, 0) == 0);
}

static void close_in_child(family *a)
{
	ufm_stream_close(a->f.engine, a->stream);
	for (uint32_t i = 0; i < shape.layers; i++)
		ufm_layer_close(a->f.layers[i]);
	ufm_engine_close(a->f.engine);
	ufm_host_close(a->f.host);
}

/* Of the same bank: it is no part of what is the parent's. On a device that the parent has used, nothing is promised. */
static void expect_own_engine(family *a)
{
#ifndef CHILD_HAS_NO_THREADS
	ufm_engine_config config = {.struct_size = sizeof config, .max_tokens = 4, .top_k_max = 2};
	ufm_host_config on = {.struct_size = sizeof on, .backend = "cpu"};
	ufm_engine_info info = {.struct_size = sizeof info};
	ufm_host *host;
	ufm_engine *engine;

	EXPECT(ufm_host_open(a->f.bank, &on, &host) == UFM_OK);
	EXPECT(ufm_engine_open(host, &config, &engine) == UFM_OK);
	ufm_engine_get_info(engine, &info);
	EXPECT(strcmp(info.backend, "cpu") == 0 && info.slots > 0);
	EXPECT(ufm_prefetch(engine, 0, (const uint32_t[]){3}, 1) == UFM_OK);
	EXPECT(ufm_stream_sync(engine, NULL) == UFM_OK);
	ufm_engine_close(engine);
	ufm_host_close(host);
#else
	(void)a;
#endif
	ufm_bank_close(a->f.bank);
}

static void use_in_child(family *a)
{
	alarm(CHILD_TIMEOUT_S);
	expect_statuses(a);
	expect_figures(a);
	close_in_child(a);
}

static void await_child(pid_t child)
{
	int status;

	assert_true(child > 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_false(WIFSIGNALED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void open_family(family *a)
{
	const uint32_t experts[] = {2, 7};

	memset(a, 0, sizeof *a);
	assert_int_equal(fixture_open(&a->f, &shape), UFM_OK);
	assert_int_equal(ufm_stream_open(a->f.engine, NULL, &a->stream), UFM_OK);
	assert_int_equal(ufm_acquire_begin(a->f.engine, 1, experts, 2, &a->lease), UFM_OK);
	assert_int_equal(ufm_acquire_ready(a->lease, a->stream, UFM_WAIT_FOREVER), UFM_OK);
}

static void close_family(family *a)
{
	assert_int_equal(ufm_release(a->lease, a->stream), UFM_OK);
	ufm_stream_close(a->f.engine, a->stream);
	fixture_close(&a->f);
}

/* The parent has work in flight and a lock taken, as another of its threads may have. */
static void a_child_waits_for_nothing(void **state)
{
	family a;

	(void)state;
	open_family(&a);
	assert_int_equal(fixture_run(&a.f, 1), UFM_OK);
	engine_enter(a.f.engine);
	assert_int_equal(ufm_prefetch(a.f.engine, 0, (const uint32_t[]){1, 2, 3}, 3), UFM_OK);
	pid_t child = fork();
	if (child == 0) {
		use_in_child(&a);
		_exit(0);
	}
	engine_leave(a.f.engine);
	await_child(child);
	close_family(&a);
}

static void the_parent_goes_on(void **state)
{
	family a;

	(void)state;
	open_family(&a);
	assert_int_equal(fixture_run(&a.f, 1), UFM_OK);
	size_t y_bytes = (size_t)a.f.c.tokens * a.f.c.d_model * sizeof(float);
	float *before = malloc(y_bytes);
	assert_non_null(before);
	memcpy(before, a.f.y, y_bytes);
	pid_t child = fork();
	if (child == 0) {
		use_in_child(&a);
		expect_own_engine(&a);
		_exit(0);
	}
	await_child(child);
	assert_int_equal(fixture_run(&a.f, 1), UFM_OK);
	assert_true(fixture_agrees(&a.f, before));
	free(before);
	assert_int_equal(fixture_identities(&a.f), 0);
	close_family(&a);
}

/* Also of a child's child. */
static void forks_are_counted(void **state)
{
	(void)state;
	assert_int_equal(process_watch(), UFM_OK);
	uint32_t mine = process_forks();
	pid_t child = fork();
	if (child == 0) {
		alarm(CHILD_TIMEOUT_S);
		EXPECT(process_watch() == UFM_OK && process_forks() == mine + 1);
		pid_t grandchild = fork();
		if (grandchild == 0)
			_exit(process_forks() == mine + 2 ? 0 : 1);
		int status;
		EXPECT(waitpid(grandchild, &status, 0) == grandchild && status == 0);
		_exit(0);
	}
	await_child(child);
	assert_int_equal(process_forks(), mine);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_child_waits_for_nothing),
		cmocka_unit_test(the_parent_goes_on),
		cmocka_unit_test(forks_are_counted),
	};
	return cmocka_run_group_tests_name("fork", tests, NULL, NULL);
}
