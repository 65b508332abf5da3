/* SPDX-License-Identifier: MIT */
/* Memory lent within one limit: who gives room, what is refused, who takes it back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "support/assert_error.h"
#include "support/ledger.h"

#define MIB LEDGER_MIB

/* Half of what the engines could give is held by them when nothing is lent. */
static ufm_lender *lend_half(ledger *l)
{
	uint64_t half = ledger_gives(l) / 2;
	ufm_lender *lender = ledger_lend(l, ledger_used() - half);
	assert_int_equal(ufm_lender_settle(lender, 0), UFM_OK);
	return lender;
}

/* ---- sequences */

typedef struct loans {
	ufm_devptr at[64];
	uint32_t count;
} loans;

/* An allocation fails when the engines cannot give what it lacks, and only then. A real driver rounds. */
static void allocate_some(ledger *l, ufm_lender *lender, rng *r, loans *have)
{
	ufm_lender_info was = ledger_info(lender);
	uint64_t most = was.gives_bytes + was.limit_bytes - was.used_bytes;
	uint64_t size = 1 + rng_below(r, 8) * rng_below(r, 1 << 20) % (most + most / 4 + 1);
	ufm_devptr memory = 77;
	ufm_status status = ufm_lender_alloc(lender, size, &memory);
	if (status == UFM_OK)
		have->at[have->count++] = memory;
	else
		assert_true(memory == 77);
	if (!ledger_is_real())
		assert_int_equal(status, size <= most ? UFM_OK : UFM_EBUDGET);
	assert_true(status == UFM_OK || ledger_gives(l) == was.gives_bytes || ledger_is_real());
}

static void free_one(ufm_lender *lender, rng *r, loans *have)
{
	uint32_t at = rng_below(r, have->count);
	if (rng_below(r, 2))
		assert_int_equal(ufm_lender_free(lender, have->at[at]), UFM_OK);
	else
		ufm_lent_free((void *)(uintptr_t)have->at[at], 1, 0, NULL);
	have->at[at] = have->at[--have->count];
}

static void step(ledger *l, ufm_lender *lender, rng *r, loans *have)
{
	uint32_t what = rng_below(r, 8);
	if (what < 4 && have->count < 64)
		allocate_some(l, lender, r, have);
	else if (what < 7 && have->count)
		free_one(lender, r, have);
	else if (what == 7)
		assert_int_equal(ufm_lender_settle(lender, 0), UFM_OK);
}

static void the_limit_is_kept_to_the_byte(void **state)
{
	(void)state;
	ledger l;
	for (uint64_t seed = 1; seed <= 6; seed++) {
		rng r;
		loans have = {.count = 0};
		ledger_open(&l);
		ufm_lender *lender = lend_half(&l);
		rng_seed(&r, seed);
		for (uint32_t i = 0; i < 120; i++) {
			step(&l, lender, &r, &have);
			ufm_lender_info info = ledger_info(lender);
			assert_int_equal(info.used_bytes, ledger_used());
			assert_true(info.used_bytes <= info.limit_bytes);
			assert_int_equal(info.lent_bytes, ledger_lent());
			assert_int_equal(info.lent_count, have.count);
			if (i % 20 == 0)
				ledger_check_results(&l);
		}
		while (have.count)
			free_one(lender, &r, &have);
		assert_int_equal(ledger_is.passed, 0);
		ufm_lender_info info = ledger_info(lender);
		assert_true(info.rooms && info.grown && info.lent_bytes == 0);
		ledger_check_results(&l);
		ufm_lender_close(lender);
		ledger_close(&l);
	}
}

/* ---- room */

static void one_gives_then_the_other(void **state)
{
	(void)state;
	ledger l;
	ufm_devptr small, large;
	ledger_open(&l);
	ufm_lender *lender = ledger_lend(&l, ledger_used());
	ufm_engine_bounds a = ledger_bounds(&l, 0), b = ledger_bounds(&l, 1);
	/* The second's experts are larger, so it can give more. */
	assert_true(b.now_bytes - b.least_bytes > a.now_bytes - a.least_bytes);
	assert_int_equal(ufm_lender_alloc(lender, fixture_granule(), &small), UFM_OK);
	assert_true(ledger_bounds(&l, 0).now_bytes == a.now_bytes);
	assert_true(ledger_bounds(&l, 1).now_bytes < b.now_bytes);
	ledger_check_results(&l);
	uint64_t most = ledger_gives(&l) + ledger_info(lender).limit_bytes - ledger_used();
	if (ledger_is_real())
		most = most / (2 * MIB) * (2 * MIB) - 2 * MIB;
	assert_int_equal(ufm_lender_alloc(lender, most, &large), UFM_OK);
	assert_true(ledger_used() <= ledger_info(lender).limit_bytes);
	if (!ledger_is_real()) {
		assert_int_equal(ledger_gives(&l), 0);
		assert_int_equal(ledger_used(), ledger_info(lender).limit_bytes);
		assert_error(ufm_lender_alloc(lender, 1, &small), UFM_EBUDGET, "1 bytes asked");
	}
	ledger_check_results(&l);
	assert_int_equal(ufm_lender_free(lender, small), UFM_OK);
	assert_int_equal(ufm_lender_free(lender, large), UFM_OK);
	ufm_lender_close(lender);
	ledger_close(&l);
}

static void what_cannot_be_given_changes_nothing(void **state)
{
	(void)state;
	ledger l;
	char used[64], gives[64];
	ufm_devptr memory = 77;
	ledger_open(&l);
	ufm_lender *lender = lend_half(&l);
	ufm_lender_info was = ledger_info(lender);
	uint64_t most = was.limit_bytes - was.used_bytes + was.gives_bytes;
	snprintf(used, sizeof used, "%llu used of a limit of %llu", (unsigned long long)was.used_bytes,
	         (unsigned long long)was.limit_bytes);
	snprintf(gives, sizeof gives, "can give back %llu", (unsigned long long)was.gives_bytes);
	const uint64_t sizes[] = {most + 1, most + MIB, UINT64_MAX / 2, UINT64_MAX};
	for (uint32_t i = 0; i < 4; i++) {
		assert_error(ufm_lender_alloc(lender, sizes[i], &memory), UFM_EBUDGET, used);
		assert_non_null(strstr(ufm_last_error(), gives));
		assert_int_equal(ledger_used(), was.used_bytes);
		assert_int_equal(ledger_is.allocs, 0);
	}
	assert_int_equal(ledger_info(lender).refused, 4);
	assert_true(memory == 77 && ledger_info(lender).rooms == was.rooms);
	ufm_lender_close(lender);
	ledger_close(&l);
}

/* Leases of one engine are in its way, and the other gives. */
static void leases_stay(void **state)
{
	(void)state;
	ledger l;
	ufm_lease *lease;
	ufm_devptr memory;
	const uint32_t ids[] = {0, 1, 2, 3, 4, 5, 6, 7};
	ledger_open(&l);
	assert_int_equal(ufm_acquire_begin(l.engines[1], 0, ids, 8, &lease), UFM_OK);
	ufm_lender *lender = ledger_lend(&l, ledger_used());
	ufm_engine_bounds a = ledger_bounds(&l, 0), b = ledger_bounds(&l, 1);
	uint64_t gives = a.now_bytes - a.least_bytes;
	assert_int_equal(ufm_lender_alloc(lender, gives / 2, &memory), UFM_OK);
	assert_true(ledger_bounds(&l, 0).now_bytes < a.now_bytes);
	assert_int_equal(ledger_bounds(&l, 1).now_bytes, b.now_bytes);
	assert_int_equal(ufm_lender_free(lender, memory), UFM_OK);
	assert_int_equal(ufm_lender_alloc(lender, ledger_gives(&l), &memory), UFM_EBUSY);
	assert_int_equal(ledger_bounds(&l, 1).now_bytes, b.now_bytes);
	assert_int_equal(ufm_release(lease, NULL), UFM_OK);
	assert_int_equal(ufm_lender_alloc(lender, gives + gives / 8, &memory), UFM_OK);
	assert_true(ledger_bounds(&l, 1).now_bytes < b.now_bytes);
	assert_int_equal(ufm_lender_free(lender, memory), UFM_OK);
	ufm_lender_close(lender);
	ledger_close(&l);
}

/* ---- a driver that refuses */

static void a_refusal_is_tried_once_more(void **state)
{
	(void)state;
	ledger l;
	ufm_devptr memory = 77;
	ledger_open(&l);
	ufm_lender *lender = ledger_lend(&l, ledger_used() + 64 * MIB);
	uint64_t gave = ledger_gives(&l);
	ledger_is.refusals = 2;
	assert_error(ufm_lender_alloc(lender, MIB, &memory), UFM_EDEVMEM,
	             "the driver refused 1048576 bytes (2), also after engines gave back");
	assert_true(memory == 77 && ledger_is.allocs == 2);
	assert_true(gave - ledger_gives(&l) >= MIB);
	ledger_is.refusals = 1;
	assert_int_equal(ufm_lender_alloc(lender, MIB, &memory), UFM_OK);
	assert_int_equal(ledger_info(lender).rooms, 2);
	assert_int_equal(ledger_info(lender).refused, 1);
	assert_true(ledger_info(lender).room_bytes == gave - ledger_gives(&l));
	/* More than engines have: what they have is tried. */
	ledger_is.refusals = 1;
	assert_int_equal(ufm_lender_free(lender, memory), UFM_OK);
	assert_int_equal(ufm_lender_alloc(lender, ledger_gives(&l) + MIB, &memory), UFM_OK);
	assert_int_equal(ledger_gives(&l), 0);
	ledger_check_results(&l);
	assert_int_equal(ufm_lender_free(lender, memory), UFM_OK);
	ufm_lender_close(lender);
	ledger_close(&l);
}

/* The driver takes more than it was asked for. */
static void rounding_does_not_pass_the_limit(void **state)
{
	(void)state;
	ledger l;
	ufm_devptr memory = 77;
	ledger_open(&l);
	if (ledger_is_real()) { /* it rounds by itself, which all tests see */
		ledger_close(&l);
		return;
	}
	ufm_lender *lender = ledger_lend(&l, ledger_used());
	ledger_is.round_bytes = 2 * MIB;
	assert_int_equal(ufm_lender_alloc(lender, 5, &memory), UFM_OK);
	assert_int_equal(ledger_lent(), 2 * MIB);
	assert_true(ledger_used() <= ledger_info(lender).limit_bytes);
	uint64_t most = ledger_gives(&l) + ledger_info(lender).limit_bytes - ledger_used();
	ledger_is.round_bytes = ledger_gives(&l) + 8 * MIB;
	ufm_devptr other = 77;
	assert_error(ufm_lender_alloc(lender, most / 2, &other), UFM_EBUDGET,
	             "bytes, as the driver counts them");
	assert_true(other == 77);
	assert_int_equal(ledger_lent(), 2 * MIB);
	assert_int_equal(ledger_info(lender).lent_count, 1);
	assert_int_equal(ufm_lender_free(lender, memory), UFM_OK);
	ufm_lender_close(lender);
	ledger_close(&l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_limit_is_kept_to_the_byte),
		cmocka_unit_test(one_gives_then_the_other),
		cmocka_unit_test(what_cannot_be_given_changes_nothing),
		cmocka_unit_test(leases_stay),
		cmocka_unit_test(a_refusal_is_tried_once_more),
		cmocka_unit_test(rounding_does_not_pass_the_limit),
	};
	return cmocka_run_group_tests_name("lend", tests, NULL, NULL);
}
