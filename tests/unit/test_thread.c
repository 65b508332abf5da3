/* SPDX-License-Identifier: MIT */
/* The library's threads leave signals to the application. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/thread.h"

static void *read_mask(void *self)
{
	pthread_sigmask(SIG_SETMASK, NULL, self);
	return self;
}

static void signals_are_blocked_in_the_thread_alone(void **state)
{
	(void)state;
	sigset_t one, before, after, seen;
	pthread_t thread;
	void *result = NULL;
	sigemptyset(&one);
	sigaddset(&one, SIGUSR1);
	pthread_sigmask(SIG_SETMASK, &one, &before);
	sigemptyset(&seen);
	assert_int_equal(thread_start(&thread, read_mask, &seen), 0);
	pthread_sigmask(SIG_SETMASK, &before, &after);
	assert_int_equal(pthread_join(thread, &result), 0);
	assert_ptr_equal(result, &seen);
	static const int some[] = {SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGPIPE, SIGALRM};
	for (uint32_t i = 0; i < sizeof some / sizeof *some; i++) {
		assert_int_equal(sigismember(&seen, some[i]), 1);
		assert_int_equal(sigismember(&after, some[i]), some[i] == SIGUSR1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(signals_are_blocked_in_the_thread_alone),
	};
	return cmocka_run_group_tests_name("thread", tests, NULL, NULL);
}
