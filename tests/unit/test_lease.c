/* SPDX-License-Identifier: MIT */
/* The pager level: leases, their limits and contents, and hints. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/fixture.h"

static int open_small(void **state)
{
	fixture *f = calloc(1, sizeof *f);
	fixture_config c = {.experts = 11, .slots_max = 6, .layers = 2, .seed = 5};
	if (!f || fixture_open(f, &c) != UFM_OK)
		return -1;
	*state = f;
	return 0;
}

static int close_small(void **state)
{
	fixture_close(*state);
	free(*state);
	return 0;
}

/* What a lease shows is what the bank says, byte for byte. */
static void check_contents(fixture *f, ufm_lease *lease, uint32_t layer, const uint32_t *experts,
                           uint32_t n, ufm_stream *stream)
{
	ufm_engine_info info = {.struct_size = sizeof info};
	ufm_engine_get_info(f->engine, &info);
	uint8_t *got = malloc(info.expert_bytes), *want = malloc(info.expert_bytes);
	for (uint32_t i = 0; i < n; i++) {
		ufm_devptr at = ufm_lease_view(lease, i);
		assert_int_not_equal(at, 0);
		assert_int_equal(ufm_copy_to_host(f->engine, stream, got, at, info.expert_bytes), UFM_OK);
		assert_int_equal(ufm_stream_sync(f->engine, stream), UFM_OK);
		assert_int_equal(ufm_bank_read(f->bank, layer, experts[i], want), UFM_OK);
		assert_memory_equal(got, want, info.expert_bytes);
	}
	assert_int_equal(ufm_lease_view(lease, n), 0);
	free(got);
	free(want);
}

static void lease_shows_the_experts(void **state)
{
	fixture *f = *state;
	ufm_stream *stream;
	assert_int_equal(ufm_stream_open(f->engine, NULL, &stream), UFM_OK);
	for (uint32_t round = 0; round < 30; round++) {
		uint32_t experts[3] = {round % 11, (round + 4) % 11, (round * 2 + 1) % 11};
		uint32_t n = 1 + round % 2; /* the third may repeat one of the first two */
		ufm_lease *lease;
		assert_int_equal(ufm_acquire_begin(f->engine, round % 2, experts, n, &lease), UFM_OK);
		assert_int_equal(ufm_acquire_ready(lease, stream, UFM_WAIT_FOREVER), UFM_OK);
		check_contents(f, lease, round % 2, experts, n, stream);
		assert_int_equal(ufm_release(lease, stream), UFM_OK);
	}
	assert_int_equal(fixture_identities(f), 0);
	ufm_stream_close(f->engine, stream);
}

static void leases_are_all_or_nothing(void **state)
{
	fixture *f = *state;
	assert_int_equal(ufm_engine_lease_max(f->engine), 3);
	ufm_lease *a, *b;
	assert_int_equal(ufm_acquire_begin(f->engine, 0, (uint32_t[]){0, 1}, 2, &a), UFM_OK);
	uint64_t uses = fixture_counter(f, "uses"), bytes = fixture_counter(f, "h2d_weight_bytes");
	assert_int_equal(ufm_acquire_begin(f->engine, 0, (uint32_t[]){2, 3}, 2, &b), UFM_EBUSY);
	assert_int_equal(fixture_counter(f, "uses"), uses);
	assert_int_equal(fixture_counter(f, "h2d_weight_bytes"), bytes);
	assert_int_equal(ufm_acquire_begin(f->engine, 0, (uint32_t[]){2}, 1, &b), UFM_OK);
	assert_int_equal(fixture_run(f, 0), UFM_OK); /* layer calls go on beside full leases */
	assert_int_equal(ufm_release(a, NULL), UFM_OK);
	assert_int_equal(ufm_acquire_begin(f->engine, 1, (uint32_t[]){2, 3}, 2, &a), UFM_OK);
	assert_int_equal(ufm_release(a, NULL), UFM_OK);
	assert_int_equal(ufm_release(b, NULL), UFM_OK);
	assert_int_equal(fixture_identities(f), 0);
}

static void wrong_requests_change_nothing(void **state)
{
	fixture *f = *state;
	ufm_lease *lease = NULL;
	assert_int_equal(ufm_acquire_begin(f->engine, 2, (uint32_t[]){0}, 1, &lease), UFM_EINVAL);
	assert_int_equal(ufm_acquire_begin(f->engine, 0, (uint32_t[]){11}, 1, &lease), UFM_EINVAL);
	assert_int_equal(ufm_acquire_begin(f->engine, 0, (uint32_t[]){3, 3}, 2, &lease), UFM_EINVAL);
	assert_int_equal(ufm_acquire_begin(f->engine, 0, (uint32_t[]){3}, 0, &lease), UFM_EINVAL);
	assert_int_equal(ufm_acquire_begin(f->engine, 0, (uint32_t[]){0, 1, 2, 3}, 4, &lease),
	                 UFM_EINVAL);
	assert_null(lease);
	assert_int_equal(ufm_acquire_begin(f->engine, 0, (uint32_t[]){3}, 1, &lease), UFM_OK);
	assert_int_equal(ufm_acquire_ready(lease, NULL, 0), UFM_EINVAL);
	assert_int_equal(ufm_release(lease, NULL), UFM_OK);
	assert_int_equal(ufm_prefetch(f->engine, 9, (uint32_t[]){0}, 1), UFM_EINVAL);
	assert_int_equal(ufm_prefetch(f->engine, 0, (uint32_t[]){99}, 1), UFM_EINVAL);
	assert_int_equal(fixture_counter(f, "uses"), 1);
}

static void hints_fill_empty_slots_only(void **state)
{
	fixture *f = *state;
	uint32_t experts[11];
	for (uint32_t i = 0; i < 11; i++)
		experts[i] = i;
	assert_int_equal(ufm_prefetch(f->engine, 0, experts, 11), UFM_OK);
	assert_int_equal(fixture_counter(f, "prefetch_loads"), 6);
	assert_int_equal(fixture_counter(f, "prefetch_dropped"), 5);
	assert_int_equal(fixture_counter(f, "bypasses"), 0);
	assert_int_equal(ufm_prefetch(f->engine, 0, experts, 6), UFM_OK);
	assert_int_equal(fixture_counter(f, "prefetch_loads"), 6);
	ufm_lease *lease;
	assert_int_equal(ufm_acquire_begin(f->engine, 0, experts, 3, &lease), UFM_OK);
	assert_int_equal(fixture_counter(f, "resident_uses"), 3);
	ufm_stream *stream;
	assert_int_equal(ufm_stream_open(f->engine, NULL, &stream), UFM_OK);
	assert_int_equal(ufm_acquire_ready(lease, stream, 0), UFM_OK);
	check_contents(f, lease, 0, experts, 3, stream);
	assert_int_equal(ufm_release(lease, stream), UFM_OK);
	assert_int_equal(fixture_identities(f), 0);
	ufm_stream_close(f->engine, stream);
}

/* A copy into a slot waits for the slot's last use on every stream, however slow. */
static void slots_outlive_slow_readers(void **state)
{
	fixture *f = *state;
	ufm_engine_info info = {.struct_size = sizeof info};
	ufm_engine_get_info(f->engine, &info);
	ufm_stream *streams[2];
	uint8_t *got[2], *want = malloc(info.expert_bytes);
	for (uint32_t i = 0; i < 2; i++) {
		assert_int_equal(ufm_stream_open(f->engine, NULL, &streams[i]), UFM_OK);
		got[i] = malloc(info.expert_bytes);
	}
	for (uint32_t round = 0; round < 50; round++) {
		uint32_t expert = round % 11;
		ufm_lease *lease[2];
		for (uint32_t i = 0; i < 2; i++) {
			assert_int_equal(ufm_acquire_begin(f->engine, 0, &expert, 1, &lease[i]), UFM_OK);
			assert_int_equal(ufm_acquire_ready(lease[i], streams[i], 0), UFM_OK);
		}
		for (uint32_t i = 0; i < 2; i++) {
			assert_int_equal(ufm_copy_to_host(f->engine, streams[i], got[i],
			                                  ufm_lease_view(lease[i], 0), info.expert_bytes),
			                 UFM_OK);
			assert_int_equal(ufm_release(lease[i], streams[i]), UFM_OK);
		}
		for (uint32_t other = 0; other < 6; other++) { /* refill every slot behind the readers */
			uint32_t id = (expert + 1 + other) % 11;
			ufm_lease *sweep;
			assert_int_equal(ufm_acquire_begin(f->engine, 1, &id, 1, &sweep), UFM_OK);
			assert_int_equal(ufm_release(sweep, NULL), UFM_OK);
		}
		assert_int_equal(ufm_bank_read(f->bank, 0, expert, want), UFM_OK);
		for (uint32_t i = 0; i < 2; i++) {
			assert_int_equal(ufm_stream_sync(f->engine, streams[i]), UFM_OK);
			assert_memory_equal(got[i], want, info.expert_bytes);
		}
	}
	for (uint32_t i = 0; i < 2; i++) {
		ufm_stream_close(f->engine, streams[i]);
		free(got[i]);
	}
	free(want);
}

/* Leases may hold all they may; layer calls go on, and lose nothing by it. */
static void full_leases_never_stop_a_layer(void **state)
{
	(void)state;
	for (uint32_t slots = 3; slots < 12; slots++) {
		fixture f;
		fixture_config c = {.experts = 16, .slots_max = slots, .tokens = 5, .seed = slots};
		assert_int_equal(fixture_open(&f, &c), UFM_OK);
		uint32_t most = ufm_engine_lease_max(f.engine), ids[16];
		for (uint64_t step = 0; step < 60; step++) {
			for (uint32_t i = 0; i < most; i++)
				ids[i] = (uint32_t)(step * 3 + i * (1 + 2 * (step % 3))) % 16;
			ufm_lease *lease;
			assert_int_equal(ufm_acquire_begin(f.engine, 0, ids, most, &lease), UFM_OK);
			if (fixture_run(&f, step) != UFM_OK)
				fail_msg("%u slots, step %llu: %s", slots, (unsigned long long)step,
				         ufm_last_error());
			assert_int_equal(ufm_release(lease, NULL), UFM_OK);
		}
		assert_int_equal(fixture_identities(&f), 0);
		fixture_close(&f);
	}
}

#define small(test) cmocka_unit_test_setup_teardown(test, open_small, close_small)

int main(void)
{
	const struct CMUnitTest tests[] = {
		small(lease_shows_the_experts),       small(leases_are_all_or_nothing),
		small(wrong_requests_change_nothing), small(hints_fill_empty_slots_only),
		small(slots_outlive_slow_readers),    cmocka_unit_test(full_leases_never_stop_a_layer),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
