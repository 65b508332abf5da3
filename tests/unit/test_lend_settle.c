/* SPDX-License-Identifier: MIT */
/* Between steps: engines grow by what nobody needs, shrink for what others are to find, and stay where little changed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "support/assert_error.h"
#include "support/ledger.h"

#define MIB LEDGER_MIB

static uint64_t now_bytes(ledger *l)
{
	return ledger_bounds(l, 0).now_bytes + ledger_bounds(l, 1).now_bytes;
}

/* The largest expert: a budget that lacks less has no room for another slot. */
static uint64_t slot_bytes(ledger *l)
{
	ufm_engine_info info = {.struct_size = sizeof info};
	assert_int_equal(ufm_engine_get_info(l->engines[1], &info), UFM_OK);
	return info.block_bytes + fixture_granule();
}

/* What may be left over: less than a slot; a real driver may take tables for it, for which a slot is given back. */
static uint64_t left_over(ledger *l)
{
	return ledger_is_real() ? 3 * slot_bytes(l) : slot_bytes(l);
}

/* What was lent and came back the engines have again, as far as whole slots go; at the end every expert's. */
static void engines_take_it_again(void **state)
{
	(void)state;
	ledger l;
	ufm_devptr memory;
	ledger_open(&l);
	uint64_t all = now_bytes(&l), used = ledger_used();
	ufm_lender *lender = ledger_lend(&l, used);
	for (uint32_t part = 1; part <= 4; part++) {
		assert_int_equal(ufm_lender_alloc(lender, ledger_gives(&l) * part / 5, &memory), UFM_OK);
		assert_true(now_bytes(&l) < all);
		ledger_check_results(&l);
		assert_int_equal(ufm_lender_settle(lender, 0), UFM_OK);
		/* To the last slot of either. */
		assert_true(ledger_used() <= used && used - ledger_used() < left_over(&l));
		ledger_check_results(&l);
		assert_int_equal(ufm_lender_free(lender, memory), UFM_OK);
		assert_int_equal(ufm_lender_settle(lender, 0), UFM_OK);
		if (!ledger_is_real())
			assert_int_equal(now_bytes(&l), all);
		assert_true(ledger_used() <= used);
		ledger_check_results(&l);
	}
	ufm_lender_info info = ledger_info(lender);
	assert_true(info.grown >= 4 && info.grown_bytes && info.used_high_water_bytes <= used);
	ufm_lender_close(lender);
	ledger_close(&l);
}

static void room_is_kept_free(void **state)
{
	(void)state;
	ledger l;
	ledger_open(&l);
	uint64_t all = now_bytes(&l), gives = ledger_gives(&l);
	ufm_lender *lender = ledger_lend(&l, ledger_used());
	for (uint32_t part = 1; part <= 4; part++) {
		uint64_t keep = gives * part / 5;
		assert_int_equal(ufm_lender_settle(lender, keep), UFM_OK);
		ufm_lender_info info = ledger_info(lender);
		assert_true(info.limit_bytes - info.used_bytes >= keep);
		/* No more than whole slots take. */
		assert_true(info.limit_bytes - info.used_bytes <= keep + left_over(&l));
		ledger_check_results(&l);
		/* It is found without any room being made. */
		ufm_devptr memory;
		assert_int_equal(ufm_lender_alloc(lender, keep - fixture_granule(), &memory), UFM_OK);
		assert_true(ledger_info(lender).rooms == info.rooms);
		assert_int_equal(ufm_lender_free(lender, memory), UFM_OK);
	}
	assert_int_equal(ledger_info(lender).shrunk, 4);
	assert_error(ufm_lender_settle(lender, gives + 4 * MIB), UFM_EBUDGET, "bytes to keep free");
	assert_int_equal(ledger_gives(&l), 0);
	assert_error(ufm_lender_settle(lender, UINT64_MAX), UFM_EBUDGET, "can give back no more");
	assert_int_equal(ufm_lender_settle(lender, 0), UFM_OK);
	if (!ledger_is_real())
		assert_int_equal(now_bytes(&l), all);
	ufm_lender_close(lender);
	ledger_close(&l);
}

/* A step without a change is one look, and engines stay as they are when little came or went. */
static void little_changes_nothing(void **state)
{
	(void)state;
	ledger l;
	ufm_devptr memory;
	ledger_open(&l);
	uint64_t half = ledger_gives(&l) / 2;
	ufm_lender *lender = ledger_lend(&l, ledger_used() - half + 3 * fixture_granule());
	assert_int_equal(ufm_lender_settle(lender, 0), UFM_OK);
	assert_int_equal(ledger_info(lender).shrunk, 1);
	uint32_t looks = ledger_is.looks;
	for (uint32_t i = 0; i < 50; i++)
		assert_int_equal(ufm_lender_settle(lender, 0), UFM_OK);
	assert_int_equal(ledger_is.looks - looks, 50);
	/* Less than the limit's 256th, and than a granule. */
	ufm_lender_info info = ledger_info(lender);
	uint64_t little = fixture_granule() > info.limit_bytes / 256 ? fixture_granule() - 1
	                                                             : info.limit_bytes / 256 - 1;
	if (ledger_is_real()) { /* which takes no less than a granule */
		ufm_lender_close(lender);
		ledger_close(&l);
		return;
	}
	assert_int_equal(ufm_lender_alloc(lender, little / 2, &memory), UFM_OK);
	assert_int_equal(ufm_lender_settle(lender, 0), UFM_OK);
	uint64_t now = now_bytes(&l);
	uint64_t room = ledger_info(lender).limit_bytes - ledger_used();
	assert_int_equal(ufm_lender_settle(lender, room + little), UFM_OK);
	assert_int_equal(now_bytes(&l), now);
	assert_int_equal(ufm_lender_free(lender, memory), UFM_OK);
	for (uint32_t i = 0; i < 4; i++)
		assert_int_equal(ufm_lender_settle(lender, room), UFM_OK);
	assert_int_equal(now_bytes(&l), now);
	assert_int_equal(ledger_info(lender).grown, 0);
	ufm_lender_close(lender);
	ledger_close(&l);
}

/* Of a limit beside which a slot is little: one is taken again all the same when with it every expert has its own. */
static void the_last_slot_is_taken(void **state)
{
	(void)state;
	ledger l;
	ufm_devptr memory[2];
	ledger_open(&l);
	if (ledger_is_real()) {
		ledger_close(&l);
		return;
	}
	uint64_t all = now_bytes(&l);
	ledger_is.outside_bytes = 3072 * MIB;
	ufm_lender *lender = ledger_lend(&l, ledger_used());
	for (uint32_t i = 0; i < 2; i++)
		assert_int_equal(ufm_lender_alloc(lender, slot_bytes(&l), &memory[i]), UFM_OK);
	uint64_t now = now_bytes(&l);
	assert_true(now < all);
	assert_int_equal(ufm_lender_free(lender, memory[0]), UFM_OK);
	assert_int_equal(ufm_lender_settle(lender, 0), UFM_OK);
	assert_int_equal(now_bytes(&l), now);
	assert_int_equal(ufm_lender_free(lender, memory[1]), UFM_OK);
	assert_int_equal(ufm_lender_settle(lender, 0), UFM_OK);
	assert_int_equal(now_bytes(&l), all);
	ufm_lender_close(lender);
	ledger_close(&l);
}

/* What was taken by nobody's leave: the limit holds again after the next step, or nobody can give more. */
static void others_are_made_up_for(void **state)
{
	(void)state;
	ledger l;
	ledger_open(&l);
	if (ledger_is_real()) {
		ledger_close(&l);
		return;
	}
	uint64_t gives = ledger_gives(&l), limit = ledger_used();
	ufm_lender *lender = ledger_lend(&l, limit);
	ledger_is.outside_bytes = 1; /* less than any step, but the limit is passed */
	assert_int_equal(ufm_lender_settle(lender, 0), UFM_OK);
	assert_true(ledger_used() <= limit);
	ledger_is.outside_bytes = gives / 2;
	assert_int_equal(ufm_lender_settle(lender, 0), UFM_OK);
	assert_true(ledger_used() <= limit);
	assert_true(ledger_info(lender).used_high_water_bytes > limit);
	ledger_check_results(&l);
	ledger_is.outside_bytes = gives + 1;
	assert_error(ufm_lender_settle(lender, 0), UFM_EBUDGET, "engines can give back");
	assert_int_equal(ledger_gives(&l), 0);
	assert_int_equal(ledger_used(), limit + 1);
	ledger_is.outside_bytes = 0;
	assert_int_equal(ufm_lender_settle(lender, 0), UFM_OK);
	assert_int_equal(ledger_gives(&l), gives);
	ledger_check_results(&l);
	ufm_lender_close(lender);
	ledger_close(&l);
}

/* The limit leaves more than the device has. */
static void a_driver_has_less_than_the_limit(void **state)
{
	(void)state;
	ledger l;
	size_t free_bytes, total_bytes;
	ledger_open(&l);
	if (ledger_is_real()) {
		ledger_close(&l);
		return;
	}
	assert_int_equal(l.config.memory(&free_bytes, &total_bytes), 0);
	uint64_t gives = ledger_gives(&l), keep = gives / 2;
	uint64_t limit = ledger_used() + 64 * MIB;
	l.others_bytes = l.config.others_bytes += free_bytes;
	ledger_is.outside_bytes = free_bytes;
	ufm_lender *lender = ledger_lend(&l, limit);
	assert_int_equal(ufm_lender_settle(lender, keep), UFM_OK);
	assert_int_equal(l.config.memory(&free_bytes, &total_bytes), 0);
	assert_true(free_bytes >= keep && free_bytes <= keep + slot_bytes(&l));
	/* What even all that the engines have would not make up for costs them nothing. */
	ufm_devptr memory = 77;
	uint64_t now = now_bytes(&l);
	assert_error(ufm_lender_alloc(lender, free_bytes + ledger_gives(&l) + 1, &memory), UFM_EDEVMEM,
	             "also after engines gave back 0");
	assert_true(memory == 77 && now_bytes(&l) == now);
	assert_int_equal(ufm_lender_alloc(lender, free_bytes + ledger_gives(&l), &memory), UFM_OK);
	assert_int_equal(ufm_lender_free(lender, memory), UFM_OK);
	assert_error(ufm_lender_settle(lender, gives + MIB), UFM_EBUDGET, "to keep free");
	ledger_is.outside_bytes = 0;
	assert_int_equal(ufm_lender_settle(lender, keep), UFM_OK);
	assert_int_equal(ledger_gives(&l), gives);
	ufm_lender_close(lender);
	ledger_close(&l);
}

/* Without a driver to ask: what engines hold and what is lent. */
static void without_a_drivers_count(void **state)
{
	(void)state;
	ledger l;
	ufm_devptr memory;
	ufm_lender *lender;
	ledger_open(&l);
	uint64_t held = ledger_used(), gives = ledger_gives(&l), all = now_bytes(&l);
	l.config.memory = NULL;
	l.config.limit_bytes = ledger_is_real() ? now_bytes(&l) : held;
	held = l.config.limit_bytes;
	assert_error(ufm_lender_open(&l.config, &lender), ledger_is_real() ? UFM_OK : UFM_EINVAL,
	             ledger_is_real() ? "" : "others_bytes");
	if (!ledger_is_real()) {
		l.config.others_bytes = 0;
		assert_int_equal(ufm_lender_open(&l.config, &lender), UFM_OK);
	}
	assert_int_equal(ledger_info(lender).used_bytes, held);
	assert_int_equal(ufm_lender_alloc(lender, gives / 2, &memory), UFM_OK);
	assert_true(ledger_info(lender).used_bytes <= held);
	assert_true(ledger_gives(&l) <= gives - gives / 2);
	ledger_check_results(&l);
	assert_int_equal(ufm_lender_free(lender, memory), UFM_OK);
	assert_int_equal(ufm_lender_settle(lender, 0), UFM_OK);
	assert_int_equal(now_bytes(&l), all);
	ufm_lender_close(lender);
	ledger_close(&l);
}

static void leases_are_in_the_way(void **state)
{
	(void)state;
	ledger l;
	ufm_lease *lease;
	const uint32_t ids[] = {0, 1, 2, 3, 4, 5, 6, 7};
	ledger_open(&l);
	ufm_lender *lender = ledger_lend(&l, ledger_used());
	assert_int_equal(ufm_acquire_begin(l.engines[1], 0, ids, 8, &lease), UFM_OK);
	uint64_t gives = ledger_gives(&l);
	assert_int_equal(ufm_lender_settle(lender, gives), UFM_EBUSY);
	assert_int_equal(ufm_release(lease, NULL), UFM_OK);
	assert_int_equal(ufm_lender_settle(lender, gives), UFM_OK);
	assert_int_equal(ledger_gives(&l), 0);
	ufm_lender_close(lender);
	ledger_close(&l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(engines_take_it_again),
		cmocka_unit_test(room_is_kept_free),
		cmocka_unit_test(little_changes_nothing),
		cmocka_unit_test(the_last_slot_is_taken),
		cmocka_unit_test(others_are_made_up_for),
		cmocka_unit_test(a_driver_has_less_than_the_limit),
		cmocka_unit_test(without_a_drivers_count),
		cmocka_unit_test(leases_are_in_the_way),
	};
	return cmocka_run_group_tests_name("lend_settle", tests, NULL, NULL);
}
