/* SPDX-License-Identifier: MIT */
/* Bounds of a budget, memory given back for somebody else, a lease that waits, streams by their handles. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/clock.h"
#include "support/assert_error.h"
#include "support/fixture.h"

/* Experts of several granules, also of a GPU, so that slots come and go one by one. */
static void open_model(fixture *f, fixture_config c)
{
	c.experts = 6;
	c.d_model = fixture_granule() > 1 << 20 ? 768 : 192;
	c.d_hidden = c.d_model;
	if (fixture_open(f, &c) != UFM_OK)
		fail_msg("open: %s", ufm_last_error());
}

static ufm_engine_bounds bounds_of(fixture *f)
{
	ufm_engine_bounds b;
	UFM_STRUCT_INIT(&b);
	assert_int_equal(ufm_engine_get_bounds(f->engine, &b), UFM_OK);
	return b;
}

static uint32_t slots_of(fixture *f)
{
	ufm_engine_info info = {.struct_size = sizeof info};
	ufm_engine_get_info(f->engine, &info);
	return info.slots;
}

static void bounds_are_what_a_resize_takes(void **state)
{
	(void)state;
	fixture f;
	open_model(&f, (fixture_config){.vram_target_bytes = (uint64_t)256 << 20});
	ufm_engine_bounds b = bounds_of(&f);
	assert_true(b.least_bytes < b.now_bytes && b.now_bytes <= b.most_bytes);
	assert_int_equal(slots_of(&f), 6);
	assert_int_equal(ufm_engine_resize(f.engine, b.least_bytes - 1), UFM_EBUDGET);
	assert_int_equal(ufm_engine_resize(f.engine, b.least_bytes), UFM_OK);
	assert_int_equal(bounds_of(&f).now_bytes, b.least_bytes);
	uint32_t least = slots_of(&f);
	assert_true(least >= 1 && least < 6);
	assert_int_equal(ufm_engine_resize(f.engine, b.most_bytes), UFM_OK);
	assert_int_equal(slots_of(&f), 6);
	assert_int_equal(fixture_run(&f, 1), UFM_OK);
	b.struct_size = 0;
	assert_error(ufm_engine_get_bounds(f.engine, &b), UFM_EINVAL, "struct_size is 0");
	fixture_close(&f);
}

static void room_is_made_to_the_byte(void **state)
{
	(void)state;
	fixture f;
	open_model(&f, (fixture_config){.vram_target_bytes = (uint64_t)256 << 20});
	assert_int_equal(fixture_prefetch_all(&f), UFM_OK);
	ufm_engine_bounds b = bounds_of(&f);
	for (uint32_t step = 0; step <= 3; step++) {
		uint64_t asked = (b.now_bytes - b.least_bytes) * step / 3;
		ufm_engine_memory was = {.struct_size = sizeof was}, is = {.struct_size = sizeof is};
		uint64_t freed = 77;
		assert_int_equal(ufm_engine_resize(f.engine, b.now_bytes), UFM_OK);
		ufm_engine_get_memory(f.engine, &was);
		assert_int_equal(ufm_engine_make_room(f.engine, asked, &freed), UFM_OK);
		ufm_engine_get_memory(f.engine, &is);
		assert_true(freed >= asked && freed % fixture_granule() == 0);
		assert_int_equal(is.device_free_bytes - was.device_free_bytes, freed);
		assert_int_equal(fixture_run(&f, step), UFM_OK);
	}
	uint64_t freed = 77;
	assert_int_equal(ufm_engine_resize(f.engine, b.now_bytes), UFM_OK);
	assert_error(ufm_engine_make_room(f.engine, b.now_bytes - b.least_bytes + 1, &freed),
	             UFM_EBUDGET, "the smallest working set leaves at most");
	assert_error(ufm_engine_make_room(f.engine, UINT64_MAX, NULL), UFM_EBUDGET, "room for");
	assert_int_equal(freed, 77);
	assert_int_equal(bounds_of(&f).now_bytes, b.now_bytes);
	/* Not with a budget that fits exactly: a driver's page tables count as held (test_resize). */
	assert_int_equal(ufm_engine_resize(f.engine, (uint64_t)256 << 20), UFM_OK);
	assert_int_equal(fixture_identities(&f), 0);
	fixture_close(&f);
}

static void leases_stay_in_the_way(void **state)
{
	(void)state;
	fixture f;
	ufm_lease *lease;
	const uint32_t ids[] = {0, 1, 2, 3};
	open_model(&f, (fixture_config){.vram_target_bytes = (uint64_t)256 << 20, .top_k = 1});
	ufm_engine_bounds b = bounds_of(&f);
	assert_int_equal(ufm_acquire_begin(f.engine, 0, ids, 4, &lease), UFM_OK);
	assert_int_equal(ufm_engine_make_room(f.engine, b.now_bytes - b.least_bytes, NULL), UFM_EBUSY);
	assert_int_equal(bounds_of(&f).now_bytes, b.now_bytes);
	assert_int_equal(ufm_release(lease, NULL), UFM_OK);
	assert_int_equal(ufm_engine_make_room(f.engine, b.now_bytes - b.least_bytes, NULL), UFM_OK);
	fixture_close(&f);
}

/* ---- a lease that waits */

static void *release_later(void *arg)
{
	const struct timespec pause = {.tv_nsec = 20000000};
	nanosleep(&pause, NULL);
	return (void *)(intptr_t)ufm_release(arg, NULL);
}

static void a_lease_waits_for_others(void **state)
{
	(void)state;
	fixture f;
	ufm_lease *held, *next = NULL;
	pthread_t thread;
	void *released;
	const uint32_t all[] = {0, 1, 2, 3, 4, 5};
	open_model(&f, (fixture_config){.slots_max = 4, .top_k = 1});
	uint32_t most = ufm_engine_lease_max(f.engine);
	assert_true(most >= 1 && most < 4);
	assert_int_equal(ufm_acquire_begin(f.engine, 0, all, most, &held), UFM_OK);
	uint64_t begin_ns = clock_now_ns();
	assert_error(ufm_acquire_wait(f.engine, 0, all + most, 1, 5000000, &next), UFM_ETIMEDOUT,
	             "acquire of 1 experts");
	assert_true(clock_now_ns() - begin_ns >= 5000000);
	assert_error(ufm_acquire_wait(f.engine, 0, all + most, 1, 0, &next), UFM_ETIMEDOUT, "acquire");
	assert_null(next);
	assert_int_equal(pthread_create(&thread, NULL, release_later, held), 0);
	assert_int_equal(ufm_acquire_wait(f.engine, 0, all + most, 1, UFM_WAIT_FOREVER, &next), UFM_OK);
	pthread_join(thread, &released);
	assert_int_equal((intptr_t)released, UFM_OK);
	assert_int_equal(ufm_release(next, NULL), UFM_OK);
	assert_int_equal(ufm_acquire_wait(f.engine, 1, all, 1, UFM_WAIT_FOREVER, &next), UFM_EINVAL);
	assert_int_equal(ufm_acquire_wait(f.engine, 0, all, most + 1, UFM_WAIT_FOREVER, &next),
	                 UFM_EINVAL);
	fixture_close(&f);
}

/* ---- streams of another library's */

static void streams_by_their_handles(void **state)
{
	(void)state;
	fixture f;
	ufm_stream *first = NULL, *again = NULL;
	open_model(&f, (fixture_config){.slots_max = 3});
	ufm_status status = ufm_stream_of(f.engine, NULL, &first);
	if (strcmp(f.c.backend->name, "cpu") == 0) {
		assert_int_equal(status, UFM_EUNSUPPORTED);
		assert_null(first);
	} else {
		assert_int_equal(status, UFM_OK);
		assert_int_equal(ufm_stream_of(f.engine, NULL, &again), UFM_OK);
		assert_ptr_equal(first, again);
		ufm_moe_call call;
		UFM_STRUCT_INIT(&call);
		call.tokens = 16;
		call.x = &f.x_tokens;
		call.y = &f.y_tokens;
		fixture_fill_x(&f, 3);
		assert_int_equal(fixture_run(&f, 3), UFM_OK);
		uint64_t want = fixture_hash(&f);
		call.stream = first;
		call.wait = 1;
		memset(f.y, 0xff, sizeof(float) * 16 * f.c.d_model);
		assert_int_equal(ufm_moe_forward(f.layers[0], &call, NULL), UFM_OK);
		assert_true(fixture_hash(&f) == want);
	}
	fixture_close(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bounds_are_what_a_resize_takes),
		cmocka_unit_test(room_is_made_to_the_byte),
		cmocka_unit_test(leases_stay_in_the_way),
		cmocka_unit_test(a_lease_waits_for_others),
		cmocka_unit_test(streams_by_their_handles),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
