/* SPDX-License-Identifier: MIT */
/* Filters around a store: what they do, and the text that asks for them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "bank/bank.h"
#include "base/clock.h"
#include "store/store.h"
#include "support/assert_error.h"

static ufm_bank *open_synthetic(ufm_expert_kind kind, ufm_dtype dtype, uint32_t d_model,
                                uint32_t d_hidden)
{
	ufm_bank_synthetic_config config;
	ufm_expert_desc desc = {.struct_size = sizeof desc};
	ufm_bank *bank;

	UFM_STRUCT_INIT(&config);
	config.desc = &desc;
	config.layers = 2;
	config.experts = 3;
	config.seed = 11;
	assert_int_equal(ufm_expert_desc_init(&desc, kind, d_model, d_hidden, dtype), UFM_OK);
	assert_int_equal(ufm_bank_synthetic(&config, &bank), UFM_OK);
	return bank;
}

static uint8_t *new_block(const ufm_bank *bank)
{
	uint8_t *block = malloc(bank_desc(bank)->expert_bytes);

	assert_non_null(block);
	return block;
}

static void test_fault(void **state)
{
	ufm_bank *bank = open_synthetic(UFM_EXPERT_MLP, UFM_F32, 5, 7);
	uint8_t *block = new_block(bank);
	store *s;

	(void)state;
	assert_int_equal(store_open(bank, "fault:layer=1,expert=2", &s), UFM_OK);
	for (uint32_t key = 0; key < 5; key++)
		assert_int_equal(store_read(s, key, block), UFM_OK);
	assert_error(store_read(s, 5, block), UFM_EEXPERT_IO, "layer 1 expert 2");
	assert_int_equal(store_read(s, 4, block), UFM_OK);
	store_close(s);
	store_close(NULL);

	assert_int_equal(
		store_open(bank, "fault:expert=0,layer=0+delay:ns=0+fault:layer=0,expert=1", &s), UFM_OK);
	assert_error(store_read(s, 0, block), UFM_EEXPERT_IO, "layer 0 expert 0");
	assert_error(store_read(s, 1, block), UFM_EEXPERT_IO, "layer 0 expert 1");
	assert_int_equal(store_read(s, 2, block), UFM_OK);
	store_close(s);
	free(block);
	ufm_bank_close(bank);
}

static void test_delay(void **state)
{
	ufm_bank *bank = open_synthetic(UFM_EXPERT_MLP, UFM_F32, 5, 7);
	uint8_t *block = new_block(bank);
	uint64_t before;
	store *s;

	(void)state;
	assert_int_equal(store_open(bank, "delay:ns=3000000", &s), UFM_OK);
	before = clock_now_ns();
	assert_int_equal(store_read(s, 0, block), UFM_OK);
	assert_true(clock_now_ns() - before >= 3000000);
	store_close(s);
	free(block);
	ufm_bank_close(bank);
}

static void test_filter_text(void **state)
{
	const struct {
		const char *filter, *text;
	} cases[] = {
		{"", "unknown store filter \"\", expected fault"},
		{"verify", "unknown store filter \"verify\", expected fault:… or delay:…"},
		{"faults:layer=0", "unknown store filter \"faults"},
		{"delay:ns=1+", "unknown store filter \"\""},
		{"fault", "option layer is missing"},
		{"fault:layer=0", "option expert is missing"},
		{"fault:layer=0,expert=0,layer=1", "layer is given twice"},
		{"fault:layer=0,slot=1", "unknown option \"slot\", expected layer, expert"},
		{"fault:layer=2,expert=0", "expected below 2 and 3"},
		{"fault:layer=0,expert=3", "expected below 2 and 3"},
		{"fault:layer=-1,expert=3", "\"layer=-1\", expected layer=NUMBER"},
		{"fault:layer=,expert=3", "expected layer=NUMBER"},
		{"fault:layer,expert=3", "expected layer=NUMBER"},
		{"delay:", "option ns is missing"},
		{"delay:ms=1", "unknown option \"ms\", expected ns"},
		{"delay:ns=1 ", "expected ns=NUMBER"},
		{"delay:ns=99999999999999999999", "expected ns=NUMBER"},
		{"delay:ns=60000000001", "expected at most 60000000000"},
	};
	ufm_bank *bank = open_synthetic(UFM_EXPERT_MLP, UFM_F32, 5, 7);

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		store *s = NULL;

		assert_error(store_open(bank, cases[i].filter, &s), UFM_EINVAL, cases[i].text);
		assert_null(s);
	}
	ufm_bank_close(bank);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fault),
		cmocka_unit_test(test_delay),
		cmocka_unit_test(test_filter_text),
	};

	return cmocka_run_group_tests_name("store filters", tests, NULL, NULL);
}
