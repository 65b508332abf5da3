/* SPDX-License-Identifier: MIT */
/* Every allocation of opening and reading a bank from the caller's extents fails in turn: each time the
 * outcome is a clean error, and nothing leaks (the leak checker of the sanitizer build watches). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdbool.h>

#include "base/alloc.h"
#include "support/checkpoint_file.h"
#include "support/files_bank.h"

typedef struct plan {
	uint64_t asked, fail_at; /* UINT64_MAX: never */
	bool for_ever;
} plan;

static bool allow(void *ctx, size_t size_bytes)
{
	plan *p = ctx;
	uint64_t number = p->asked++;

	(void)size_bytes;
	return p->for_ever ? number < p->fail_at : number != p->fail_at;
}

static ufm_status open_read_close(files_bank *b)
{
	const uint32_t numbers[] = {4};
	ufm_bank_files_config config = files_bank_config(b);
	uint8_t block[8192];
	ufm_bank *bank;
	ufm_status status;

	config.layer_numbers = numbers;
	status = ufm_bank_files(&config, &bank);
	if (status)
		return status;
	status = ufm_bank_read(bank, 0, 1, block);
	ufm_bank_close(bank);
	return status;
}

static void fail_each(bool for_ever)
{
	files_bank b = {.layers = 1, .experts = 2, .layout = FILES_SECOND_COLS, .from = UFM_F16};
	plan p = {.fail_at = UINT64_MAX};
	uint64_t total;

	UFM_STRUCT_INIT(&b.desc);
	assert_int_equal(ufm_expert_desc_init(&b.desc, UFM_EXPERT_GATED, 7, 9, UFM_F32), UFM_OK);
	files_bank_make(&b, 1);
	files_bank_write(&b, case_folder);
	alloc_set_hook(allow, &p);
	assert_int_equal(open_read_close(&b), UFM_OK);
	total = p.asked;
	assert_true(total >= 11);
	for (uint64_t at = 0; at < total; at++) {
		p = (plan){.fail_at = at, .for_ever = for_ever};
		if (open_read_close(&b) != UFM_ENOMEM)
			fail_msg("allocation %llu of %llu", (unsigned long long)at, (unsigned long long)total);
	}
	alloc_set_hook(NULL, NULL);
	assert_int_equal(open_read_close(&b), UFM_OK);
	files_bank_free(&b);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(each_allocation_fails_once, case_folder_make,
	                                    case_folder_remove),
		cmocka_unit_test_setup_teardown(each_allocation_fails_for_ever, case_folder_make,
	                                    case_folder_remove),
	};

	return cmocka_run_group_tests_name("fault bank files", tests, NULL, NULL);
}
