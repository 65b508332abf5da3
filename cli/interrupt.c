/* SPDX-License-Identifier: MIT */
/* A flag, a thread that waits for it, and what is left to do when the command does not end by
 * itself. */
#include "cli/interrupt.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/status.h"
#include "base/thread.h"
#include "cli/exit.h"
#include "cli/message.h"

#define AGAIN_NS 200000000ull
#define GRACE_NS 500000000l
#define UNFINISHED_MAX 24

static volatile sig_atomic_t seen;
static uint64_t first_ns; /* written before `seen`, by the same handler */
static sem_t woken;

/* Read by the handler: a name is whole before the count says that it is there. */
static char unfinished[UNFINISHED_MAX][PATH_MAX + 64];
static volatile sig_atomic_t unfinished_count;

static pthread_mutex_t guard = PTHREAD_MUTEX_INITIALIZER;
/* guarded */
static const char *command_name;
static interrupt_keep keep_call;
static void *keep_ctx;
static bool said;

/* Safe in a handler. */
static void end_process(void)
{
	for (int i = 0; i < unfinished_count; i++)
		unlink(unfinished[i]);
	_exit(CLI_INTERRUPTED);
}

/* Safe in a handler: the clock, a semaphore, and calls of the system only. */
static void on_signal(int number)
{
	int before = errno;
	uint64_t now_ns = clock_now_ns();
	(void)number;
	if (!seen) {
		first_ns = now_ns;
		seen = 1;
		sem_post(&woken);
	} else if (now_ns - first_ns > AGAIN_NS) {
		end_process();
	}
	errno = before;
}

/* With the guard. */
static void keep_and_say(void)
{
	if (!said && keep_call)
		keep_call(keep_ctx);
	if (!said)
		interrupt_say("interrupted");
}

static void *watch(void *self)
{
	const struct timespec grace = {.tv_nsec = GRACE_NS};
	(void)self;
	while (sem_wait(&woken) != 0)
		continue;
	nanosleep(&grace, NULL);
	interrupt_guard();
	keep_and_say();
	end_process();
	return NULL;
}

bool interrupt_install(const char *command)
{
	struct sigaction action;
	pthread_t thread;
	command_name = command;
	sem_init(&woken, 0, 0);
	if (thread_start(&thread, watch, NULL) != 0)
		return false;
	pthread_detach(thread);
	memset(&action, 0, sizeof action);
	action.sa_handler = on_signal;
	action.sa_flags = SA_RESTART;
	/* One at a time: both signals share the state. */
	sigemptyset(&action.sa_mask);
	sigaddset(&action.sa_mask, SIGINT);
	sigaddset(&action.sa_mask, SIGTERM);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	return true;
}

bool interrupt_seen(void)
{
	return seen != 0;
}

int interrupt_stop(void *ctx)
{
	(void)ctx;
	return interrupt_seen();
}

ufm_status interrupt_check(void)
{
	return seen ? status_fail(UFM_ECANCELED, "interrupted") : UFM_OK;
}

void interrupt_guard(void)
{
	pthread_mutex_lock(&guard);
}

void interrupt_unguard(void)
{
	pthread_mutex_unlock(&guard);
}

void interrupt_set_keep(interrupt_keep keep, void *ctx)
{
	interrupt_guard();
	keep_call = keep;
	keep_ctx = ctx;
	interrupt_unguard();
}

void interrupt_say(const char *format, ...)
{
	char text[1024];
	va_list args;
	if (said)
		return;
	said = true;
	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	message_error(command_name, "%s", text);
}

int interrupt_end(void)
{
	interrupt_guard();
	keep_and_say();
	interrupt_unguard();
	return CLI_INTERRUPTED;
}

void interrupt_unfinished(const char *path)
{
	int at = unfinished_count;
	for (int i = 0; i < at; i++)
		if (strcmp(unfinished[i], path) == 0)
			return;
	assert(at < UNFINISHED_MAX);
	snprintf(unfinished[at], sizeof unfinished[at], "%s", path);
	unfinished_count = at + 1;
}
