/* SPDX-License-Identifier: MIT */
/* Ranked locks: exclusion, conditions on the monotonic clock, and death on misuse. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/lock.h"

#define NS_PER_MS 1000000u

static void test_clock_moves_forward_and_sleeps(void **state)
{
	(void)state;
	uint64_t before_ns = clock_now_ns();
	clock_sleep_until_ns(before_ns + 2 * NS_PER_MS);
	assert_true(clock_now_ns() >= before_ns + 2 * NS_PER_MS);
	clock_sleep_until_ns(0); /* long passed */
	clock_sleep_until_ns(before_ns);
}

static void test_rising_order_is_allowed(void **state)
{
	lock low, high;

	(void)state;
	lock_init(&low, LOCK_RANK_LAYER, "low");
	lock_init(&high, LOCK_RANK_LEAF, "high");
	for (int i = 0; i < 3; i++) {
		lock_take(&low);
		lock_take(&high);
		lock_drop(&low); /* any order of release */
		lock_drop(&high);
	}
	lock_take(&high);
	lock_drop(&high);
	lock_take(&low);
	lock_drop(&low);
	lock_destroy(&high);
	lock_destroy(&low);
}

typedef struct shared_count {
	lock lock;
	lock_cond changed;
	int count, target;
} shared_count;

static void *count_up(void *arg)
{
	shared_count *s = arg;

	for (int i = 0; i < s->target; i++) {
		lock_take(&s->lock);
		s->count++;
		lock_drop(&s->lock);
	}
	return NULL;
}

static void open_count(shared_count *s, int target)
{
	*s = (shared_count){.target = target};
	lock_init(&s->lock, LOCK_RANK_ENGINE, "count");
	lock_cond_init(&s->changed);
}

static void close_count(shared_count *s)
{
	lock_cond_destroy(&s->changed);
	lock_destroy(&s->lock);
}

static void test_excludes(void **state)
{
	shared_count s;
	pthread_t threads[4];

	(void)state;
	open_count(&s, 5000);
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, count_up, &s), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(s.count, 20000);
	close_count(&s);
}

/* Counts to an even number and waits for the other to make it odd. */
static void *answer(void *arg)
{
	shared_count *s = arg;

	lock_take(&s->lock);
	while (s->count < s->target) {
		if (s->count % 2 == 0) {
			lock_wait(&s->changed, &s->lock);
			continue;
		}
		s->count++;
		lock_wake_one(&s->changed);
	}
	lock_drop(&s->lock);
	return NULL;
}

static void test_wait_and_wake(void **state)
{
	shared_count s;
	pthread_t thread;

	(void)state;
	open_count(&s, 200);
	assert_int_equal(pthread_create(&thread, NULL, answer, &s), 0);
	lock_take(&s.lock);
	while (s.count < s.target) {
		if (s.count % 2) {
			assert_true(lock_wait_until(&s.changed, &s.lock, UINT64_MAX / 4) || s.count % 2 == 0);
			continue;
		}
		s.count++;
		lock_wake_all(&s.changed);
	}
	lock_drop(&s.lock);
	pthread_join(thread, NULL);
	assert_int_equal(s.count, 200);
	close_count(&s);
}

static void test_wait_ends_at_its_time(void **state)
{
	shared_count s;

	(void)state;
	open_count(&s, 0);
	lock_take(&s.lock);
	uint64_t until_ns = clock_now_ns() + 3 * NS_PER_MS;
	while (lock_wait_until(&s.changed, &s.lock, until_ns))
		; /* a wait may wake for no reason */
	assert_true(clock_now_ns() >= until_ns);
	assert_false(lock_wait_until(&s.changed, &s.lock, 1));
	lock_drop(&s.lock);
	close_count(&s);
}

/* ------------------------------------------------------------------ death */

#ifndef NDEBUG
static lock first, second;
static lock_cond condition;

static void take_in_falling_order(void)
{
	lock_take(&second);
	lock_take(&first);
}

static void take_the_same_rank(void)
{
	lock twin;

	lock_init(&twin, LOCK_RANK_DEVICE, "twin");
	lock_take(&second);
	lock_take(&twin);
}

static void take_twice(void)
{
	lock_take(&first);
	lock_take(&first);
}

static void drop_what_is_not_held(void)
{
	lock_take(&second);
	lock_drop(&first);
}

static void wait_without_the_lock(void)
{
	lock_wait(&condition, &first);
}

static void wait_below_another(void)
{
	lock_take(&first);
	lock_take(&second);
	lock_wait_until(&condition, &first, 1);
}

static void destroy_while_held(void)
{
	lock_take(&first);
	lock_destroy(&first);
}

static void misuse_nothing(void)
{
	lock_take(&first);
	lock_take(&second);
	lock_drop(&second);
	lock_drop(&first);
}

static void run_in_child(void (*act)(void), int stderr_end)
{
	const struct rlimit no_core = {0, 0};

	setrlimit(RLIMIT_CORE, &no_core);
	signal(SIGABRT, SIG_DFL);
	dup2(stderr_end, STDERR_FILENO);
	lock_init(&first, LOCK_RANK_ENGINE, "first");
	lock_init(&second, LOCK_RANK_DEVICE, "second");
	lock_cond_init(&condition);
	act();
	_exit(0);
}

/* How a child that does this ends, and what it says. */
static int end_of(void (*act)(void), char *text, size_t text_size)
{
	int ends[2], wait_status;
	size_t used = 0;
	ssize_t got;

	assert_int_equal(pipe(ends), 0);
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0)
		run_in_child(act, ends[1]);
	close(ends[1]);
	while ((got = read(ends[0], text + used, text_size - 1 - used)) > 0)
		used += (size_t)got;
	text[used] = '\0';
	close(ends[0]);
	waitpid(child, &wait_status, 0);
	return wait_status;
}

static void test_misuse_aborts_and_names_the_locks(void **state)
{
	static const struct {
		void (*act)(void);
		const char *expected;
	} cases[] = {
		{take_in_falling_order, "lock first (rank 20) taken while holding second (rank 40)"},
		{take_the_same_rank, "lock twin (rank 40) taken while holding second (rank 40)"},
		{take_twice, "lock first (rank 20) taken while holding first (rank 20)"},
		{drop_what_is_not_held, "lock first (rank 20) dropped but not held"},
		{wait_without_the_lock, "lock first (rank 20) waited on but not held"},
		{wait_below_another, "lock first (rank 20) waited on while holding second (rank 40)"},
		{destroy_while_held, "lock first (rank 20) destroyed while held"},
	};
	char text[8192];

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		int end = end_of(cases[i].act, text, sizeof text);
		if (!WIFSIGNALED(end) || WTERMSIG(end) != SIGABRT || !strstr(text, cases[i].expected))
			fail_msg("wait status %#x, \"%s\", expected an abort with \"%s\"", (unsigned)end, text,
			         cases[i].expected);
	}
	assert_int_equal(end_of(misuse_nothing, text, sizeof text), 0);
	assert_string_equal(text, "");
}
#else
static void test_misuse_aborts_and_names_the_locks(void **state)
{
	(void)state;
	print_message("built with NDEBUG: ranks are not checked\n");
	skip();
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_misuse_aborts_and_names_the_locks),
		cmocka_unit_test(test_clock_moves_forward_and_sleeps),
		cmocka_unit_test(test_rising_order_is_allowed),
		cmocka_unit_test(test_excludes),
		cmocka_unit_test(test_wait_and_wake),
		cmocka_unit_test(test_wait_ends_at_its_time),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
