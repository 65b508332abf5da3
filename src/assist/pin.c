/* SPDX-License-Identifier: MIT */
/* How many threads there are, and which core each keeps. */
#include <sched.h>

#include "assist/assist_int.h"
#include "base/limits.h"

uint32_t assist_threads_default(void)
{
	limits now;
	limits_read(&now);
	uint32_t threads = now.cores - 1;
	return threads < ASSIST_THREADS_MAX ? threads : ASSIST_THREADS_MAX;
}

/* Under a quota of time the cores are not ours alone, and the scheduler knows better. */
static bool cores_are_ours(const assist *a)
{
	limits now;
	limits_read(&now);
	return now.cores == now.affinity_cores && a->threads < now.affinity_cores;
}

void assist_pin(assist *a)
{
	cpu_set_t mine;
	if (!cores_are_ours(a) || sched_getaffinity(0, sizeof mine, &mine) != 0)
		return;
	uint32_t left = a->started;
	for (size_t core = CPU_SETSIZE; core-- > 0 && left;) {
		cpu_set_t one;
		if (!CPU_ISSET(core, &mine))
			continue;
		CPU_ZERO(&one);
		CPU_SET(core, &one);
		/* A refusal costs time and no result. */
		(void)pthread_setaffinity_np(a->workers[--left].thread, sizeof one, &one);
	}
}
