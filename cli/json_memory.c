/* SPDX-License-Identifier: MIT */
/* One flag behind jansson's allocator. */
#include "cli/json_memory.h"

#include <jansson.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "base/alloc.h"
#include "base/status.h"

static atomic_bool lost; /* as global as jansson's allocator is */

static void *take(size_t size_bytes)
{
	void *memory = alloc_zeroed(1, size_bytes);
	if (!memory)
		json_memory_lose();
	return memory;
}

void json_memory_lose(void)
{
	atomic_store(&lost, true);
}

void json_memory_watch(void)
{
	atomic_store(&lost, false);
	json_set_alloc_funcs(take, alloc_free);
}

ufm_status json_memory_check(void)
{
	if (!atomic_load(&lost))
		return UFM_OK;
	return status_fail(UFM_ENOMEM,
	                   "no memory was left: what would be printed and written lacks parts");
}
