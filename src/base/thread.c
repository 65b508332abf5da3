/* SPDX-License-Identifier: MIT */
#include "base/thread.h"

#include <signal.h>

/* A thread begins with the mask of the one that starts it. */
int thread_start(pthread_t *thread, void *(*thread_main)(void *), void *self)
{
	sigset_t all, before;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int error = pthread_create(thread, NULL, thread_main, self);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return error;
}
