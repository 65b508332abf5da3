/* SPDX-License-Identifier: MIT */
/* A bank whose experts the caller's function writes: what may fail, and how often its end is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "support/assert_error.h"
#include "support/callback_bank.h"

static void check_failure(uint32_t key, int status, ufm_status expected, const char *line)
{
	const ufm_expert_desc desc = weights_describe(UFM_EXPERT_MLP, UFM_BF16, 5, 7);
	uint8_t block[8192];
	weights w;
	ufm_host *host = NULL;

	weights_open(&w, &desc);
	w.fails_at = key;
	w.status = status;
	ufm_bank *bank = weights_bank(&w);
	for (uint32_t threads = 1; threads <= 4; threads += 3)
		assert_error(weights_host(bank, threads, &host), expected, line);
	assert_null(host);
	assert_error(ufm_bank_read(bank, key / WEIGHTS_EXPERTS, key % WEIGHTS_EXPERTS, block), expected,
	             line);
	/* the others are there, and all of them once it goes well */
	uint32_t other = (key + 1) % WEIGHTS_KEYS;
	assert_int_equal(ufm_bank_read(bank, other / WEIGHTS_EXPERTS, other % WEIGHTS_EXPERTS, block),
	                 UFM_OK);
	w.fails_at = WEIGHTS_FAILS_NEVER;
	weights_check_hosts(&w, bank);
	ufm_bank_close(bank);
	weights_close(&w, 1);
}

static void a_failing_read_is_told(void **state)
{
	(void)state;
	check_failure(0, UFM_ENOMEM, UFM_ENOMEM, "layer 0 expert 0: the caller's function returned -4");
	check_failure(8, UFM_EFILE, UFM_EFILE, "layer 1 expert 3: the caller's function returned -7");
	check_failure(WEIGHTS_KEYS - 1, UFM_ECANCELED, UFM_ECANCELED,
	              "layer 2 expert 4: the caller's function returned -8 (stopped by the caller)");
	check_failure(6, UFM_EBACKEND, UFM_EBACKEND, "layer 1 expert 1: ");
}

static void an_unknown_status_is_an_experts(void **state)
{
	(void)state;
	check_failure(3, 1, UFM_EEXPERT_IO,
	              "layer 0 expert 3: the caller's function returned 1 (unknown status)");
	check_failure(3, -9, UFM_EEXPERT_IO, "returned -9 (unknown status)");
	check_failure(3, INT32_MIN, UFM_EEXPERT_IO, "returned -2147483648 (unknown status)");
}

/* Nobody is asked after a failure that one thread alone can have seen. */
static void one_thread_stops_at_once(void **state)
{
	(void)state;
	const ufm_expert_desc desc = weights_describe(UFM_EXPERT_MLP, UFM_F32, 5, 7);
	weights w;
	ufm_host *host;

	weights_open(&w, &desc);
	w.fails_at = 6;
	w.status = UFM_EFILE;
	ufm_bank *bank = weights_bank(&w);
	assert_int_equal(weights_host(bank, 1, &host), UFM_EFILE);
	assert_int_equal(w.total, 7);
	ufm_bank_close(bank);
	weights_close(&w, 1);
}

static int stop_after_four(void *ctx)
{
	return ((weights *)ctx)->total >= 4;
}

static void the_caller_may_stop(void **state)
{
	(void)state;
	const ufm_expert_desc desc = weights_describe(UFM_EXPERT_MLP, UFM_F32, 5, 7);
	ufm_host_config config = {.struct_size = sizeof config,
	                          .backend = "cpu",
	                          .fill_threads = 1,
	                          .pageable = 1,
	                          .stop = stop_after_four};
	weights w;
	ufm_host *host = NULL;

	weights_open(&w, &desc);
	config.stop_ctx = &w;
	ufm_bank *bank = weights_bank(&w);
	assert_error(ufm_host_open(bank, &config, &host), UFM_ECANCELED, "after 4 of 15 blocks");
	assert_null(host);
	assert_int_equal(w.total, 4);
	ufm_bank_close(bank);
	weights_close(&w, 1);
}

/* ------------------------------------------------------------------ opening and closing */

static void wrong_arguments(void **state)
{
	(void)state;
	ufm_expert_desc desc = weights_describe(UFM_EXPERT_MLP, UFM_F32, 5, 7);
	weights w;
	ufm_bank *bank = NULL;

	weights_open(&w, &desc);
	const ufm_bank_callback_config good = weights_config(&w);
	ufm_bank_callback_config config = good;
	config.read = NULL;
	assert_error(ufm_bank_callback(&config, &bank), UFM_EINVAL, "read: NULL, expected a function");
	config = good;
	config.experts = 0;
	assert_error(ufm_bank_callback(&config, &bank), UFM_EINVAL, "experts is 0");
	config = good;
	config.desc = NULL;
	assert_error(ufm_bank_callback(&config, &bank), UFM_EINVAL, "desc");
	config = good;
	desc.d_model = 0;
	config.desc = &desc;
	assert_error(ufm_bank_callback(&config, &bank), UFM_EINVAL, "d_model is 0");
	config = good;
	config.struct_size = 3;
	assert_error(ufm_bank_callback(&config, &bank), UFM_EINVAL, "ufm_bank_callback_config");
	assert_error(ufm_bank_callback(NULL, &bank), UFM_EINVAL, "config: NULL");
	assert_error(ufm_bank_callback(&good, NULL), UFM_EINVAL, "out: NULL");
	assert_null(bank);
	/* nobody is told of a bank that never was */
	weights_close(&w, 0);
}

/* One layer is the default, and a caller that leaves `closed` out is not told. */
static void what_may_be_left_out(void **state)
{
	(void)state;
	const ufm_expert_desc desc = weights_describe(UFM_EXPERT_MLP, UFM_F32, 5, 7);
	ufm_bank_info info = {.struct_size = sizeof info};
	weights w;
	ufm_bank *bank;

	weights_open(&w, &desc);
	ufm_bank_callback_config config = weights_config(&w);
	config.layers = 0;
	config.closed = NULL;
	assert_int_equal(ufm_bank_callback(&config, &bank), UFM_OK);
	assert_int_equal(ufm_bank_get_info(bank, &info), UFM_OK);
	assert_int_equal(info.layers, 1);
	assert_int_equal(info.experts, WEIGHTS_EXPERTS);
	assert_int_equal(info.bank_bytes, WEIGHTS_EXPERTS * desc.expert_bytes);
	ufm_bank_close(bank);
	weights_close(&w, 0);
}

/* Host tiers that never open hold nothing: the bank is the caller's alone, and its end is told once. */
static void its_end_is_told_once_whatever_fails(void **state)
{
	(void)state;
	const ufm_expert_desc desc = weights_describe(UFM_EXPERT_MLP, UFM_F32, 5, 7);
	const ufm_host_debug debug = {.struct_size = sizeof debug, .store_filter = "no such filter"};
	const ufm_host_config bad_filter = {
		.struct_size = sizeof bad_filter, .backend = "cpu", .debug = &debug};
	const ufm_host_config bad_backend = {.struct_size = sizeof bad_backend, .backend = "nowhere"};
	weights w;
	ufm_host *host;

	weights_open(&w, &desc);
	ufm_bank *bank = weights_bank(&w);
	assert_int_equal(ufm_host_open(bank, &bad_filter, &host), UFM_EINVAL);
	assert_int_equal(ufm_host_open(bank, &bad_backend, &host), UFM_EBACKEND);
	w.fails_at = 2;
	w.status = UFM_EFILE;
	assert_int_equal(weights_host(bank, 2, &host), UFM_EFILE);
	assert_int_equal(w.closed, 0);
	ufm_bank_close(bank);
	weights_close(&w, 1);
}

/* The engine holds the host tier, which holds the bank. */
static void the_last_that_holds_it_tells(void **state)
{
	(void)state;
	const ufm_expert_desc desc = weights_describe(UFM_EXPERT_MLP, UFM_F32, 5, 7);
	weights w;
	ufm_host *host;
	ufm_engine *engine;

	weights_open(&w, &desc);
	ufm_bank *bank = weights_bank(&w);
	assert_int_equal(weights_host(bank, 2, &host), UFM_OK);
	assert_int_equal(ufm_engine_open(host, NULL, &engine), UFM_OK);
	ufm_bank_close(bank);
	ufm_host_close(host);
	assert_int_equal(w.closed, 0);
	ufm_engine_close(engine);
	weights_close(&w, 1);
}

static bool refuse_after(void *ctx, size_t size_bytes)
{
	int *left = ctx;

	(void)size_bytes;
	return (*left)-- > 0;
}

static ufm_status open_host_close(const ufm_bank_callback_config *config)
{
	ufm_bank *bank;
	ufm_host *host = NULL;
	ufm_status status = ufm_bank_callback(config, &bank);

	if (status)
		return status;
	status = weights_host(bank, 1, &host);
	ufm_host_close(host);
	ufm_bank_close(bank);
	return status;
}

static void every_allocation_may_fail(void **state)
{
	(void)state;
	const ufm_expert_desc desc = weights_describe(UFM_EXPERT_MLP, UFM_F32, 5, 7);
	const uint32_t numbers[WEIGHTS_LAYERS] = {3, 11, 40};
	ufm_status status = UFM_ENOMEM;
	int granted = 0;
	weights w;

	weights_open(&w, &desc);
	ufm_bank_callback_config config = weights_config(&w);
	config.layer_numbers = numbers;
	for (; status; granted++) {
		uint32_t closed = w.closed;
		int left = granted;

		w.total = 0;
		alloc_set_hook(refuse_after, &left);
		status = open_host_close(&config);
		alloc_set_hook(NULL, NULL);
		assert_true(status == UFM_OK || status == UFM_ENOMEM);
		/* the first two are the bank's own: without them there is none */
		assert_int_equal(w.closed - closed, granted < 2 ? 0 : 1);
	}
	assert_true(granted > 6);
	weights_close(&w, w.closed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_failing_read_is_told),
		cmocka_unit_test(an_unknown_status_is_an_experts),
		cmocka_unit_test(one_thread_stops_at_once),
		cmocka_unit_test(the_caller_may_stop),
		cmocka_unit_test(wrong_arguments),
		cmocka_unit_test(what_may_be_left_out),
		cmocka_unit_test(its_end_is_told_once_whatever_fails),
		cmocka_unit_test(the_last_that_holds_it_tells),
		cmocka_unit_test(every_allocation_may_fail),
	};

	return cmocka_run_group_tests_name("bank callback failures", tests, NULL, NULL);
}
