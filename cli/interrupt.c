/* SPDX-License-Identifier: MIT */
/* The first signal sets a flag; one that comes long after it ends the process. */
#include "cli/interrupt.h"

#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/clock.h"

#define AGAIN_NS 1000000000ull

static volatile sig_atomic_t seen;
static uint64_t first_ns; /* written before `seen`, by the same handler */

/* Safe in a handler: clock_gettime and signal handling calls only. */
static void on_signal(int number)
{
	uint64_t now_ns = clock_now_ns();
	if (!seen) {
		first_ns = now_ns;
		seen = 1;
	} else if (now_ns - first_ns > AGAIN_NS) {
		signal(number, SIG_DFL);
		raise(number);
	}
}

void interrupt_install(void)
{
	struct sigaction action;
	memset(&action, 0, sizeof action);
	action.sa_handler = on_signal;
	action.sa_flags = SA_RESTART;
	/* One at a time: both signals share the state. */
	sigemptyset(&action.sa_mask);
	sigaddset(&action.sa_mask, SIGINT);
	sigaddset(&action.sa_mask, SIGTERM);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
}

bool interrupt_seen(void)
{
	return seen != 0;
}
