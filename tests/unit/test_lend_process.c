/* SPDX-License-Identifier: MIT */
/* Lenders of a process: by their device, after they closed, from several threads, in a child, and what is refused. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/rng.h"
#include "support/assert_error.h"
#include "support/ledger.h"

#define MIB LEDGER_MIB

/* ---- by their device */

static void the_newest_of_a_device_lends(void **state)
{
	(void)state;
	ledger l;
	ledger_open(&l);
	assert_null(ufm_lent_alloc(1, 0, NULL));
	assert_non_null(strstr(ufm_last_error(), "device 0: no open lender"));
	uint64_t limit = ledger_used() + 64 * MIB;
	ufm_lender *first = ledger_lend(&l, limit);
	void *a = ufm_lent_alloc(MIB, 0, NULL);
	ufm_lender *second = ledger_lend(&l, limit);
	void *b = ufm_lent_alloc(MIB, 0, &l);
	assert_true(a && b && a != b);
	assert_int_equal(ledger_info(first).lent_count, 1);
	assert_int_equal(ledger_info(second).lent_count, 1);
	assert_null(ufm_lent_alloc(MIB, 1, NULL));
	assert_null(ufm_lent_alloc(MIB, -1, NULL));
	assert_null(ufm_lent_alloc(0, 0, NULL));
	assert_null(ufm_lent_alloc(-5, 0, NULL));
	assert_null(ufm_lent_alloc(PTRDIFF_MAX, 0, NULL));
	assert_non_null(strstr(ufm_last_error(), "bytes asked"));
	/* Each has its own back. */
	assert_error(ufm_lender_free(second, (ufm_devptr)(uintptr_t)a), UFM_EINVAL, "memory: 0x");
	ufm_lender_close(second);
	void *c = ufm_lent_alloc(MIB, 0, NULL);
	assert_int_equal(ledger_info(first).lent_count, 2);
	/* The one in the middle of the list closes. */
	ufm_lender *third = ledger_lend(&l, limit);
	ufm_lender_close(first);
	assert_non_null(c);
	ufm_lent_free(c, MIB, 0, NULL);
	void *d = ufm_lent_alloc(MIB, 0, NULL);
	assert_int_equal(ledger_info(third).lent_count, 1);
	ufm_lender_close(third);
	assert_null(ufm_lent_alloc(MIB, 0, NULL));
	/* After all have closed, whatever size and device are said. */
	assert_int_equal(ledger_lent(), 3 * MIB);
	ufm_lent_free(d, MIB, 0, NULL);
	ufm_lent_free(a, 0, 5, NULL);
	ufm_lent_free(b, MIB, 0, &l);
	assert_int_equal(ledger_lent(), 0);
	uint32_t releases = ledger_is.releases;
	ufm_lent_free(a, MIB, 0, NULL);
	ufm_lent_free(&l, MIB, 0, NULL);
	ufm_lent_free(NULL, MIB, 0, NULL);
	assert_int_equal(ledger_is.releases, releases);
	ledger_close(&l);
}

/* ---- threads */

#define THREADS 2
#define ROUNDS 150

typedef struct borrower {
	ufm_lender *lender;
	uint64_t seed, most_bytes;
	uint32_t wrong, granted, refused;
} borrower;

/* Segments of sizes that together pass the limit now and then. */
static void *borrow(void *arg)
{
	borrower *me = arg;
	void *have[4] = {NULL};
	rng r;
	rng_seed(&r, me->seed);
	for (uint32_t i = 0; i < ROUNDS; i++) {
		void **slot = &have[rng_below(&r, 4)];
		if (*slot)
			ufm_lent_free(*slot, 0, 0, NULL);
		*slot = ufm_lent_alloc((ptrdiff_t)(1 + rng_below(&r, (uint32_t)me->most_bytes)), 0, NULL);
		me->granted += *slot != NULL;
		me->refused += *slot == NULL;
		if (!*slot && !strstr(ufm_last_error(), "device memory: "))
			me->wrong++;
		ufm_status status = i % 5 ? UFM_OK : ufm_lender_settle(me->lender, 0);
		me->wrong += status != UFM_OK;
	}
	for (uint32_t i = 0; i < 4; i++)
		ufm_lent_free(have[i], 0, 0, NULL);
	return NULL;
}

static void threads_borrow_while_layers_run(void **state)
{
	(void)state;
	ledger l;
	borrower who[THREADS];
	pthread_t threads[THREADS];
	ledger_open(&l);
	ufm_lender *lender = ledger_lend(&l, ledger_used());
	for (uint32_t i = 0; i < THREADS; i++) {
		who[i] = (borrower){.lender = lender, .seed = i, .most_bytes = ledger_gives(&l) / 5};
		assert_int_equal(pthread_create(&threads[i], NULL, borrow, &who[i]), 0);
	}
	for (uint32_t i = 0; i < 40; i++) {
		ledger_check_results(&l);
		ufm_lender_info info = ledger_info(lender);
		assert_true(info.used_bytes <= info.limit_bytes);
	}
	for (uint32_t i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
		assert_int_equal(who[i].wrong, 0);
		assert_int_equal(who[i].granted + who[i].refused, ROUNDS);
		assert_true(who[i].granted > ROUNDS / 4);
	}
	ufm_lender_info info = ledger_info(lender);
	assert_true(info.rooms > 0 && info.lent_count == 0 && ledger_is.passed == 0);
	assert_int_equal(info.refused, who[0].refused + who[1].refused);
	ledger_check_results(&l);
	ufm_lender_close(lender);
	ledger_close(&l);
}

/* ---- a child process */

static int use_in_child(ufm_lender *lender, void *memory)
{
	ufm_devptr at = 77;
	ufm_lender_info info = {.struct_size = sizeof info, .limit_bytes = 5};
	uint32_t releases = ledger_is.releases, wrong = 0;
	wrong += ufm_lender_alloc(lender, MIB, &at) != UFM_EINVAL || at != 77;
	wrong += ufm_lender_settle(lender, 0) != UFM_EINVAL;
	wrong += ufm_lender_free(lender, (ufm_devptr)(uintptr_t)memory) != UFM_EINVAL;
	wrong += ufm_lender_get_info(lender, &info) != UFM_EINVAL || info.limit_bytes != 0;
	wrong += ufm_lent_alloc(MIB, 0, NULL) != NULL;
	ufm_lent_free(memory, MIB, 0, NULL);
	ufm_lender_close(lender);
	return (int)wrong + (ledger_is.releases != releases);
}

static void a_child_has_nothing_to_lend(void **state)
{
	(void)state;
	ledger l;
	int status;
	ledger_open(&l);
	ufm_lender *lender = ledger_lend(&l, ledger_used());
	void *memory = ufm_lent_alloc(MIB, 0, NULL);
	assert_non_null(memory);
	pid_t child = fork();
	if (child == 0) {
		alarm(60);
		_exit(use_in_child(lender, memory));
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_int_equal(ledger_info(lender).lent_count, 1);
	ufm_lent_free(memory, MIB, 0, NULL);
	assert_int_equal(ledger_info(lender).lent_count, 0);
	ufm_lender_close(lender);
	ledger_close(&l);
}

/* ---- what is refused, and failures of the driver */

static void refuse(const ufm_lender_config *config, const char *why)
{
	ufm_lender *lender = NULL;
	assert_error(ufm_lender_open(config, &lender), UFM_EINVAL, why);
	assert_null(lender);
}

static void wrong_configs(void **state)
{
	(void)state;
	ledger l;
	ufm_devptr memory;
	ledger_open(&l);
	l.config.limit_bytes = 1;
	ufm_lender_config c = l.config;
	c.limit_bytes = 0;
	refuse(&c, "limit_bytes: 0");
	c = l.config;
	c.engine_count = 0;
	refuse(&c, "engines: none");
	c = l.config;
	ufm_engine *twice[] = {l.engines[0], l.engines[0]}, *none[] = {l.engines[0], NULL};
	c.engines = twice;
	refuse(&c, "engines[1]: NULL or given twice");
	c.engines = none;
	refuse(&c, "engines[1]: NULL or given twice");
	c = l.config;
	c.struct_size = 3;
	refuse(&c, "struct_size is 3");
	/* A limit that is passed already: nobody can lend, and settling says so. */
	ufm_lender *lender = ledger_lend(&l, 1);
	assert_error(ufm_lender_alloc(lender, 1, &memory), UFM_EBUDGET, "of a limit of 1,");
	assert_error(ufm_lender_settle(lender, 0), UFM_EBUDGET, "of a limit of 1,");
	assert_error(ufm_lender_alloc(lender, 0, &memory), UFM_EINVAL, "size_bytes: 0");
	assert_error(ufm_lender_free(lender, 5), UFM_EINVAL, "memory: 0x5");
	ledger_check_results(&l);
	ufm_lender_close(lender);
	ledger_close(&l);
}

static void the_driver_fails(void **state)
{
	(void)state;
	ledger l;
	ufm_devptr memory;
	ufm_lender *lender = NULL;
	ufm_lender_info info = {.struct_size = sizeof info};
	ledger_open(&l);
	l.config.limit_bytes = ledger_used();
	ledger_is.memory_fails = 1;
	assert_error(ufm_lender_open(&l.config, &lender), UFM_EDEVICE, "what is free (201)");
	assert_true(!lender && !ufm_lent_alloc(MIB, 0, NULL));
	ledger_is.memory_fails = 0;
	lender = ledger_lend(&l, ledger_used());
	ledger_is.memory_fails = 1;
	assert_error(ufm_lender_alloc(lender, 1, &memory), UFM_EDEVICE, "what is free (201)");
	assert_error(ufm_lender_settle(lender, 0), UFM_EDEVICE, "what is free (201)");
	assert_error(ufm_lender_get_info(lender, &info), UFM_EDEVICE, "what is free (201)");
	ledger_is.memory_fails = 0;
	assert_int_equal(ufm_lender_alloc(lender, 3, &memory), UFM_OK);
	ledger_is.release_fails = 1;
	assert_error(ufm_lender_free(lender, memory), UFM_EDEVICE,
	             "3 bytes lent: the driver did not take them back (1)");
	assert_int_equal(ledger_info(lender).lent_count, 0);
	ledger_is.release_fails = 0;
	assert_int_equal(l.config.release(memory), 0);
	ufm_lender_close(lender);
	ledger_close(&l);
}

static uint32_t allocations_left;

static bool allocation_may(void *ctx, size_t size_bytes)
{
	(void)ctx;
	(void)size_bytes;
	return allocations_left && allocations_left--;
}

/* Every allocation of opening and of the first loan fails in turn, and nothing stays. */
static void host_memory_runs_out(void **state)
{
	(void)state;
	ledger l;
	ufm_devptr memory = 77;
	ufm_lender *lender = NULL;
	ufm_status status = UFM_ENOMEM;
	ledger_open(&l);
	l.config.limit_bytes = ledger_used() + MIB;
	uint32_t failed = 0;
	for (; status != UFM_OK; failed++) {
		allocations_left = failed;
		alloc_set_hook(allocation_may, NULL);
		status = ufm_lender_open(&l.config, &lender);
		alloc_set_hook(NULL, NULL);
		assert_true(status == UFM_OK || (status == UFM_ENOMEM && !lender));
		assert_true(status == UFM_OK || !ufm_lent_alloc(1, 0, NULL));
	}
	assert_true(failed > 2);
	allocations_left = 0;
	alloc_set_hook(allocation_may, NULL);
	status = ufm_lender_alloc(lender, 1, &memory);
	alloc_set_hook(NULL, NULL);
	assert_int_equal(status, UFM_ENOMEM);
	assert_true(memory == 77 && ledger_lent() == 0 && ledger_is.releases == 1);
	assert_int_equal(ledger_info(lender).lent_count, 0);
	ufm_lender_close(lender);
	ledger_close(&l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_newest_of_a_device_lends),
		cmocka_unit_test(threads_borrow_while_layers_run),
		cmocka_unit_test(a_child_has_nothing_to_lend),
		cmocka_unit_test(wrong_configs),
		cmocka_unit_test(the_driver_fails),
		cmocka_unit_test(host_memory_runs_out),
	};
	return cmocka_run_group_tests_name("lend_process", tests, NULL, NULL);
}
