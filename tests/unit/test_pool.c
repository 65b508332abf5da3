/* SPDX-License-Identifier: MIT */
/* The thread pool: every item once, on a known worker, without allocating. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/pool.h"
#include "base/rng.h"

#define ITEMS_MAX 20000u
#define WORKERS_MAX 16u
#define SEED 99u

typedef struct tally {
	_Atomic uint32_t done[ITEMS_MAX];
	uint32_t plain[ITEMS_MAX]; /* one writer an item; read after the job: for the sanitizer */
	_Atomic uint32_t by_worker[WORKERS_MAX];
	_Atomic uint32_t wrong_worker;
	uint32_t workers;
} tally;

static tally *tally_open(uint32_t workers)
{
	tally *t = calloc(1, sizeof *t);

	assert_non_null(t);
	t->workers = workers;
	return t;
}

static void note_item(void *ctx, uint32_t item, uint32_t worker)
{
	tally *t = ctx;

	if (worker >= t->workers) {
		atomic_fetch_add(&t->wrong_worker, 1);
		return;
	}
	atomic_fetch_add(&t->done[item], 1);
	atomic_fetch_add(&t->by_worker[worker], 1);
	t->plain[item] += item + 1;
}

static void check_once_each(const tally *t, uint32_t items, uint32_t times)
{
	uint32_t total = 0;

	assert_int_equal(atomic_load(&t->wrong_worker), 0);
	for (uint32_t i = 0; i < items; i++) {
		assert_int_equal(atomic_load(&t->done[i]), times);
		assert_int_equal(t->plain[i], (i + 1) * times);
	}
	for (uint32_t i = items; i < ITEMS_MAX; i++)
		assert_int_equal(atomic_load(&t->done[i]), 0);
	for (uint32_t w = 0; w < t->workers; w++)
		total += atomic_load(&t->by_worker[w]);
	assert_int_equal(total, items * times);
}

static void test_every_item_once(void **state)
{
	const uint32_t threads[] = {1, 2, 3, 8, WORKERS_MAX};
	const uint32_t items[] = {0, 1, 2, 3, 7, 8, 9, 1000, ITEMS_MAX};

	(void)state;
	for (size_t i = 0; i < sizeof threads / sizeof threads[0]; i++) {
		for (size_t j = 0; j < sizeof items / sizeof items[0]; j++) {
			pool *p = NULL;
			tally *t = tally_open(threads[i]);
			assert_int_equal(pool_open(threads[i], &p), UFM_OK);
			assert_int_equal(pool_threads(p), threads[i]);
			pool_run(p, items[j], note_item, t);
			check_once_each(t, items[j], 1);
			pool_close(p);
			free(t);
		}
	}
}

/* Back to back, so that workers still leave one job while the next is opened. */
static void test_many_jobs(void **state)
{
	enum { JOBS = 3000, ITEMS = 5 };
	pool *p = NULL;
	tally *t = tally_open(4);

	(void)state;
	assert_int_equal(pool_open(4, &p), UFM_OK);
	for (int job = 0; job < JOBS; job++)
		pool_run(p, ITEMS, note_item, t);
	check_once_each(t, ITEMS, JOBS);
	pool_close(p);
	free(t);
}

static void test_job_sizes_at_random(void **state)
{
	pool *p = NULL;
	rng r;

	(void)state;
	print_message("seed %u\n", SEED);
	rng_seed(&r, SEED);
	assert_int_equal(pool_open(5, &p), UFM_OK);
	for (int job = 0; job < 200; job++) {
		uint32_t items = rng_below(&r, 40);
		tally *t = tally_open(5);
		pool_run(p, items, note_item, t);
		check_once_each(t, items, 1);
		free(t);
	}
	pool_close(p);
}

static void note_thread(void *ctx, uint32_t item, uint32_t worker)
{
	(void)item;
	if (worker == 0)
		*(pthread_t *)ctx = pthread_self();
}

static void test_one_thread_is_the_caller(void **state)
{
	pool *p = NULL;
	pthread_t seen = {0};

	(void)state;
	assert_int_equal(pool_open(1, &p), UFM_OK);
	pool_run(p, 3, note_thread, &seen);
	assert_true(pthread_equal(seen, pthread_self()));
	pool_close(p);
}

typedef struct meeting {
	pthread_barrier_t barrier;
	_Atomic uint32_t met;
} meeting;

static void meet(void *ctx, uint32_t item, uint32_t worker)
{
	meeting *m = ctx;

	(void)item;
	(void)worker;
	pthread_barrier_wait(&m->barrier);
	atomic_fetch_add(&m->met, 1);
}

/* Items that wait for each other end only if all threads work at once. */
static void test_threads_work_together(void **state)
{
	const uint32_t threads = 4;
	pool *p = NULL;
	meeting m;

	(void)state;
	assert_int_equal(pthread_barrier_init(&m.barrier, NULL, threads), 0);
	atomic_init(&m.met, 0);
	assert_int_equal(pool_open(threads, &p), UFM_OK);
	for (uint32_t job = 1; job <= 50; job++) {
		pool_run(p, threads, meet, &m);
		assert_int_equal(atomic_load(&m.met), threads * job);
	}
	pool_close(p);
	pthread_barrier_destroy(&m.barrier);
}

static bool count_calls(void *ctx, size_t size_bytes)
{
	(void)size_bytes;
	++*(int *)ctx;
	return true;
}

static bool refuse(void *ctx, size_t size_bytes)
{
	(void)ctx;
	(void)size_bytes;
	return false;
}

static void test_run_allocates_nothing(void **state)
{
	pool *p = NULL;
	tally *t = tally_open(3);
	int calls = 0;

	(void)state;
	alloc_set_hook(count_calls, &calls);
	assert_int_equal(pool_open(3, &p), UFM_OK);
	assert_true(calls > 0);
	calls = 0;
	pool_run(p, 100, note_item, t);
	assert_int_equal(calls, 0);
	alloc_set_hook(NULL, NULL);
	check_once_each(t, 100, 1);
	pool_close(p);
	free(t);
}

static void test_open_reports_exhaustion(void **state)
{
	pool *p = NULL;

	(void)state;
	alloc_set_hook(refuse, NULL);
	assert_int_equal(pool_open(4, &p), UFM_ENOMEM);
	alloc_set_hook(NULL, NULL);
	assert_null(p);
	assert_non_null(strstr(ufm_last_error(), "host memory"));
}

static void test_close_takes_null_and_unused(void **state)
{
	pool *p = NULL;

	(void)state;
	pool_close(NULL);
	for (int i = 0; i < 50; i++) {
		assert_int_equal(pool_open(3, &p), UFM_OK);
		pool_close(p);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_item_once),
		cmocka_unit_test(test_many_jobs),
		cmocka_unit_test(test_job_sizes_at_random),
		cmocka_unit_test(test_one_thread_is_the_caller),
		cmocka_unit_test(test_threads_work_together),
		cmocka_unit_test(test_run_allocates_nothing),
		cmocka_unit_test(test_open_reports_exhaustion),
		cmocka_unit_test(test_close_takes_null_and_unused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
