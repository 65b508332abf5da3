/* SPDX-License-Identifier: MIT */
/* Counts forks, in the child. */
#include "base/process.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/status.h"

/* Of the process, which is what they are about. */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static int once_error;
static atomic_uint forks;

static void count(void)
{
	atomic_fetch_add_explicit(&forks, 1, memory_order_relaxed);
}

static void watch(void)
{
	once_error = pthread_atfork(NULL, NULL, count);
}

ufm_status process_watch(void)
{
	pthread_once(&once, watch);
	return once_error ? status_fail(UFM_ENOMEM, "forks cannot be watched: %s", strerror(once_error))
	                  : UFM_OK;
}

uint32_t process_forks(void)
{
	return atomic_load_explicit(&forks, memory_order_relaxed);
}
